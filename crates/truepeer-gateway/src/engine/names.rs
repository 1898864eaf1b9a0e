//! How names are looked up by the program that needs no library of its host.
//!
//! The ordinary program asks the C library, which reads `/etc/nsswitch.conf` and loads a plug-in for each word in its
//! line on hosts that is neither `files` nor `dns`. Those two have been in the C library itself since glibc 2.34. A
//! program with the C library inside would load the host's plug-ins just the same, with the host's C library behind
//! them: another version, with structures of another shape, in one process. So there the line says `files dns`, whatever
//! the host's does: `/etc/hosts`, then the name servers of `/etc/resolv.conf`. Plug-ins (mDNS, LDAP, systemd's containers)
//! are what that program lacks.
//!
//! `packaging/release` proves it: no library is opened while a name is looked up on a host that asks for plug-ins.

/// Whose C library the program runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CLibrary {
    /// That of the host, with its plug-ins.
    OfHost,
    /// Its own: the program is linked statically.
    Own,
}

/// Makes names be looked up without the host's libraries in the whole process, from the next look-up on, where `library`
/// is the program's own. Changes nothing for a program that has the host's.
///
/// Only the program knows how it is linked: this crate is compiled once, for both.
pub fn keep_to_files_and_dns(library: CLibrary) {
    match library {
        CLibrary::OfHost => {}
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        CLibrary::Own => glibc::keep_to_files_and_dns(),
        // Other C libraries know no plug-ins.
        #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
        CLibrary::Own => {}
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the only way to tell glibc, which reads no environment variable for it")]
mod glibc {
    use std::ffi::{CStr, c_char, c_int};

    unsafe extern "C" {
        /// `<nss.h>`: the line of `/etc/nsswitch.conf` for one database, as if the file had it; kept over changes of the file.
        fn __nss_configure_lookup(database: *const c_char, line: *const c_char) -> c_int;
    }

    const DATABASE: &CStr = c"hosts";
    const LINE: &CStr = c"files dns";

    pub(super) fn keep_to_files_and_dns() {
        // SAFETY: both are strings that end with a NUL and live as long as the program; glibc copies what it keeps and
        // takes its own lock. It fails for a name of a database or a line that it does not understand, or without
        // memory: then the file's line holds, as in any other program.
        let _ = unsafe { __nss_configure_lookup(DATABASE.as_ptr(), LINE.as_ptr()) };
    }
}
