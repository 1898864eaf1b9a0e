//! What is wrong between a program that sends PROXY protocol headers and one that receives them.
//!
//! Bytes and text go in, [`Finding`]s come out: what was seen, what it means, which side has to change, and the line
//! to change there. Knowledge is data: kinds of programs, the words of their logs, the limits of their readers.
//!
//! Nothing here opens a file or a socket, reads a clock or knows a configuration of truepeer's, so that any program
//! can say the same. What is not known is not guessed: the answer is then no finding.
//!
//! ```
//! use truepeer_doctor::{Class, Confidence, Finding, Product, Side};
//!
//! let finding = Finding {
//!     class: Class::Miss,
//!     side: Side::Front,
//!     product: Some(Product::Haproxy),
//!     seen: "EHLO client.example\\r\\n".to_owned(),
//!     cause: "the server expects a header and a client's command came".into(),
//!     change: "add `send-proxy-v2` to the server line".into(),
//!     confidence: Confidence::Certain,
//! };
//! assert!(finding.to_string().starts_with("MISS (certain), to change at the front: HAProxy\n"));
//! ```

#![forbid(unsafe_code)]

pub mod change;
pub mod checker;
mod disguise;
mod excerpt;
mod fault;
mod finding;
pub mod header;
pub mod logs;
pub mod misread;
pub mod neighbour;
mod opening;
mod product;
pub mod senders;
pub mod stalwart;
pub mod survey;
pub mod unidentified;

pub use excerpt::{EXCERPT_MAX, excerpt};
pub use finding::{Class, Confidence, Finding, Side, sort};
pub use opening::Opening;
pub use product::Product;
