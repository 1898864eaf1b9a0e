//! Programs for the kernel: assembled here from readable steps, and loaded by bpf(2) without any library.
//!
//! `docs/design/2026-11-30-label.md` says why there is no compiler and no loader library. Used by the label; knows
//! nothing of what the programs mean. `unsafe` is in [`syscall`], in what it lays out for the kernel, and in [`netns`].

mod assembler;
mod attributes;
mod netns;
mod syscall;

pub(crate) use assembler::{Assembler, Compare, NoSuchPlace, Register, Width, helper};
pub(crate) use netns::netns_cookie;
pub(crate) use syscall::{Hook, KernelProgram, Link, Map, MapLayout, TypeInfo};
