//! The backend as a program that is given the connection: its standard input and output are the client.

use std::io::{self, Read, Write};

use crate::backend;
use crate::wire::Pattern;

/// Does what the client's first byte says, until the client ends.
pub fn serve() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut buf = vec![0; 64 * 1024];
    let len = input.read(&mut buf)?;
    let Some(kind) = buf[..len].first().copied() else { return Ok(()) };
    if kind == backend::GIVE {
        let pattern = Pattern::new();
        let mut given = 0;
        // Its end is the client's.
        while let Ok(len @ 1..) = output.write(pattern.from(given)) {
            given += len as u64;
        }
        return Ok(());
    }
    let mut heard = len;
    while heard > 0 {
        if kind == backend::ECHO {
            output.write_all(&buf[..heard])?;
            output.flush()?;
        }
        heard = input.read(&mut buf).unwrap_or(0);
    }
    Ok(())
}
