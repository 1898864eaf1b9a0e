//! The optimised object code of the codec calls no panic routine.
//!
//! Compiles the crate, which needs nothing but `core`, and a driver that instantiates what is
//! inlined into callers, and looks through their symbol tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]
use std::path::{Path, PathBuf};
use std::process::Command;

/// Uses every entry point that the crate's own object file may leave out because it is inlined.
const DRIVER: &str = r#"
#![no_std]
use truepeer_proto::*;

#[unsafe(no_mangle)]
pub fn drive_decode(bytes: &[u8]) -> usize {
    let decoder = Decoder::new().mixed_families(MixedFamilies::Accept).max_len(bytes.len());
    let mut sum = 0usize;
    for result in [decode(bytes), decoder.decode(bytes), decoder.frame(bytes)] {
        if let Ok(Decode::Complete { header, len }) = result {
            sum ^= len;
            for tlv in header.tlvs() {
                sum ^= tlv.value.len();
                if let TlvValue::Ssl(ssl) = tlv.to_value() {
                    sum ^= ssl.sub_tlvs().count() ^ usize::from(ssl.is_verified());
                }
            }
            if let Addresses::Unix { source, .. } = header.addresses() {
                sum ^= source.name().len();
            }
        }
    }
    sum
}

#[unsafe(no_mangle)]
pub fn drive_encode(header: &Encoder<'_>, facts: SslFacts<'_>, out: &mut [u8]) -> usize {
    let with_facts = header.ssl(facts).encode(out).unwrap_or(0);
    with_facts ^ header.encode(out).unwrap_or(0) ^ header.encoded_len().unwrap_or(0)
}
"#;

#[test]
fn optimised_code_has_no_panic_routine() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no_panic");
    std::fs::create_dir_all(&folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let driver = folder.join("driver.rs");
    std::fs::write(&driver, DRIVER).unwrap();
    let object = folder.join("codec.o");
    let library = folder.join("libtruepeer_proto.rlib");
    for emit in [format!("obj={}", object.display()), format!("link={}", library.display())] {
        rustc(&["--crate-name", "truepeer_proto", "--emit", &emit, source.to_str().unwrap()]);
    }
    let driver_object = folder.join("driver.o");
    let emit = format!("obj={}", driver_object.display());
    let codec = format!("truepeer_proto={}", library.display());
    rustc(&["--crate-name", "driver", "--emit", &emit, "--extern", &codec, driver.to_str().unwrap()]);
    for (object, expected) in [(object, "truepeer_proto"), (driver_object, "drive_decode")] {
        let bytes = std::fs::read(&object).unwrap();
        assert!(contains(&bytes, expected), "{} is not what it should be", object.display());
        let routine = panic_routine(&bytes);
        assert_eq!(routine, None, "in {}", object.display());
    }
}

#[test]
fn a_panic_routine_would_be_found() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no_panic_control");
    std::fs::create_dir_all(&folder).unwrap();
    let source = folder.join("control.rs");
    std::fs::write(
        &source,
        "#![no_std]\n#[unsafe(no_mangle)]\npub fn third(bytes: &[u8]) -> u8 { bytes[2] }\n",
    )
    .unwrap();
    let object = folder.join("control.o");
    let emit = format!("obj={}", object.display());
    rustc(&["--crate-name", "control", "--emit", &emit, source.to_str().unwrap()]);
    assert!(panic_routine(&std::fs::read(&object).unwrap()).is_some());
}

/// A name that only calls of panic routines bring into an object file.
fn panic_routine(object: &[u8]) -> Option<&'static str> {
    let names = ["panicking", "panic_fmt", "slice_index", "unwrap_failed", "expect_failed"];
    names.into_iter().find(|name| contains(object, name))
}

fn contains(bytes: &[u8], name: &str) -> bool {
    bytes.windows(name.len()).any(|window| window == name.as_bytes())
}

fn rustc(arguments: &[&str]) {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(program)
        .args(["--edition", "2024", "--crate-type", "lib", "-C", "opt-level=3", "-C", "codegen-units=1"])
        .args(["-C", "panic=abort", "-C", "debuginfo=0", "-C", "embed-bitcode=no", "--cap-lints", "allow"])
        .args(arguments)
        .status()
        .unwrap();
    assert!(status.success());
}
