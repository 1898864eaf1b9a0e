//! Servers that read no header, where nobody can ask them: what they make of it is named in the client's record.
//!
//! Called by `cases`. Each is as Debian has it, without the setting that would let it read a header.

use std::net::SocketAddr;

use super::{Case, PROXY, case, told_client, told_destination};
use crate::client::Client;
use crate::feed::Mark;
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::nginx::Nginx;
use crate::servers::sshd::Sshd;
use crate::servers::truepeer::Truepeer;
use crate::verdict::{Result, ensure};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: interop.test\r\nConnection: close\r\n\r\n";
/// The beginning of a TLS record.
const HELLO: &[u8] = &[0x16, 0x03, 0x01];

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("an_nginx_that_takes_our_header_for_a_request_is_named_in_the_record", web),
        case("an_nginx_that_reads_no_header_is_found_out_by_a_request_where_http_is_spoken", asked),
        case("an_sshd_that_takes_our_header_for_its_identification_is_named_in_the_record", ssh),
    ]
}

/// In clear text that truepeer does not speak, and in TLS that passes through it.
fn web(lab: &Lab) -> Result {
    let (nginx, clear, tls) = start_web(lab)?;
    for (protocol, addr, words) in
        [("protocol = \"tcp\"", clear, REQUEST), ("protocol = \"http\"\ntls.implicit = true", tls, HELLO)]
    {
        let truepeer = start(lab, protocol, addr)?;
        let heard = is_named(&truepeer, words, "takes a header for a request")?;
        ensure(heard.starts_with("HTTP/1.1 400"), || format!("the client must hear nginx: {heard}"))?;
    }
    drop(nginx);
    Ok(())
}

fn asked(lab: &Lab) -> Result {
    let (nginx, clear, _) = start_web(lab)?;
    let truepeer = start(lab, "protocol = \"http\"", clear)?;
    let line = truepeer.wait_event(Mark::default(), "backend_ignores_header", "behind")?;
    ensure(line.contains("400"), || format!("the line quotes nginx: {line}"))?;
    let mut client = Client::dial(PROXY, truepeer.port("door")?)?;
    client.send(&[&header::v1(told_client(4741), told_destination())[..], REQUEST].concat())?;
    let heard = client.rest("truepeer refuses and closes")?;
    drop(nginx);
    ensure(heard.starts_with("HTTP/1.1 503"), || format!("no client may reach it: {heard}"))
}

fn ssh(lab: &Lab) -> Result {
    let sshd = Sshd::start(&lab.fresh_dir("sshd")?)?;
    lab.watch("sshd", sshd.log());
    let truepeer = start(lab, "protocol = \"tcp\"", sshd.addrs()[0])?;
    let heard = is_named(&truepeer, b"SSH-2.0-client\r\n", "found no SSH identification")?;
    ensure(heard.starts_with("SSH-2.0-OpenSSH"), || format!("the client must hear sshd: {heard}"))
}

/// An NGINX with a port for HTTP and one for HTTPS.
fn start_web(lab: &Lab) -> Result<(Nginx, SocketAddr, SocketAddr)> {
    let (clear, tls) = (Port::free(PROXY.ip())?, Port::free(PROXY.ip())?);
    let (dir, pair) = (lab.fresh_dir("nginx-web")?, lab.pair()?.display().to_string());
    let text = format!(
        "\
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{ listen {}; return 200 \"ok\"; }}
  server {{ listen {} ssl; ssl_certificate {pair}; ssl_certificate_key {pair}; return 200 \"ok\"; }}
}}
",
        clear.addr(),
        tls.addr()
    );
    let (clear, tls) = (clear.addr(), tls.addr());
    let nginx = Nginx::start_as_written(&dir, &text)?;
    lab.watch("nginx", nginx.log());
    Ok((nginx, clear, tls))
}

/// A client that sends `words` leaves a record whose cause says `what`, with the setting; returns what it hears.
fn is_named(truepeer: &Truepeer, words: &[u8], what: &str) -> Result<String> {
    let mark = truepeer.log().mark();
    let told = told_client(4740);
    let mut client = Client::dial(PROXY, truepeer.port("door")?)?;
    client.send(&[&header::v1(told, told_destination())[..], words].concat())?;
    let heard = client.rest("the server's end")?;
    drop(client);
    let record = truepeer.record_of(mark, told)?;
    let (cause, remedy) = (record.text("cause"), record.text("remedy"));
    ensure(cause.contains(what) && cause.contains("may not read our header"), || {
        format!("the cause is: {cause}")
    })?;
    ensure(remedy.contains("read the header"), || format!("the remedy is: {remedy}"))?;
    Ok(heard)
}

/// A truepeer whose listener has these lines, in front of the server at `addr`.
fn start(lab: &Lab, lines: &str, addr: SocketAddr) -> Result<Truepeer> {
    let door = Port::free(PROXY.ip())?.addr();
    let text = format!(
        "\
[server.proxy]
trusted-networks = [\"127.0.0.1\"]
[log]
format = \"json\"
[server.listener.door]
bind = \"{door}\"
backend = \"behind\"
{lines}
[backend.behind]
handoff = \"proxy-v2\"
address = \"{addr}\"
"
    );
    let dir = lab.fresh_dir("truepeer-unproven")?;
    let truepeer = Truepeer::start_as_written(lab.program()?, &dir, &text, ("door", door))?;
    lab.watch("truepeer", truepeer.log());
    Ok(truepeer)
}
