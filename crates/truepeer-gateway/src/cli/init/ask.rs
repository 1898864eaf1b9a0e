//! The questions of `truepeer init`: four, each with what was found as its answer. Over any reader and writer.

use std::io::{self, BufRead, Write};

use crate::doctor::init::{AnswersError, Found, GivenAnswers, Service};

/// How often one question is asked before it counts as not answered.
const TRIES: usize = 3;
/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 4096;

/// Asks for what `given` does not say; an empty answer takes the one in brackets.
///
/// # Errors
/// If the input ends, cannot be read, or has no usable answer after [`TRIES`].
pub(super) fn ask(
    found: &Found,
    mut given: GivenAnswers,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> io::Result<GivenAnswers> {
    let usual = given.clone().or_found(found);
    let words = |items: Option<Vec<String>>| items.map(|items| items.join(" "));
    let mut question = |text: &str,
                        usual: Option<String>,
                        set: &mut dyn FnMut(&[&str]) -> Result<(), AnswersError>| {
        for _ in 0..TRIES {
            match &usual {
                Some(usual) => write!(output, "{text} [{usual}]: ")?,
                None => write!(output, "{text}: ")?,
            }
            output.flush()?;
            let mut line = String::new();
            if io::Read::take(&mut *input, MAX_LINE).read_line(&mut line)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answers ended"));
            }
            let said = if line.trim().is_empty() { usual.clone().unwrap_or_default() } else { line };
            let words: Vec<_> =
                said.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()).collect();
            match set(&words) {
                Ok(()) => return Ok(()),
                Err(error) => writeln!(output, "  {error}")?,
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no usable answer to: {text}")))
    };
    if given.product.is_none() {
        let product = usual.product.map(|product| GivenAnswers::word(product).to_owned());
        question("Which program is the proxy: haproxy, nginx, traefik or envoy?", product, &mut |words| {
            given.set_product(words)
        })?;
    }
    if given.proxies.is_none() {
        let proxies = words(usual.proxies.map(|all| all.iter().map(ToString::to_string).collect()));
        question("From which address does the proxy connect to this machine?", proxies, &mut |words| {
            given.set_proxies(words)
        })?;
    }
    if given.services.is_none() {
        let services = words(usual.services.map(|all| all.iter().map(|s| s.name().to_owned()).collect()));
        let known = Service::ALL.map(Service::name).join(", ");
        question(&format!("Which services shall it bring: {known}?"), services, &mut |words| {
            given.set_services(words)
        })?;
    }
    if given.hostname.is_none() {
        let text = "What do greetings and refusals call this host?";
        question(text, Some("the name of this system".to_owned()), &mut |words| match words {
            // The usual answer, which is no name.
            ["the", "name", "of", "this", "system"] => Ok(()),
            words => given.set_hostname(words),
        })?;
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::doctor::snippet::ProxyProduct;

    fn asked(found: &Found, given: GivenAnswers, answers: &str) -> (io::Result<GivenAnswers>, String) {
        let mut output = Vec::new();
        let given = ask(found, given, &mut answers.as_bytes(), &mut output);
        (given, String::from_utf8(output).unwrap())
    }

    #[test]
    fn an_empty_answer_takes_what_was_found_and_a_wrong_one_is_asked_again() {
        let found = Found { postfix: true, haproxy: true, ..Found::default() };
        let (given, said) = asked(
            &found,
            GivenAnswers::default(),
            "\n10.0.0.0/8\n192.0.2.10, 192.0.2.11\n\nmx1.example.org\n",
        );
        let given = given.unwrap();
        assert_eq!(given.product, Some(ProxyProduct::Haproxy));
        assert_eq!(given.proxies, Some(vec![IpAddr::from([192, 0, 2, 10]), IpAddr::from([192, 0, 2, 11])]));
        assert_eq!(given.services, Some(vec![Service::Smtp]));
        assert_eq!(given.hostname.as_deref(), Some("mx1.example.org"));
        assert!(
            said.contains("[haproxy]") && said.contains("[127.0.0.1]") && said.contains("[smtp]"),
            "{said}"
        );
        assert!(said.contains("any host in it could claim to be any client"), "{said}");
        assert_eq!(said.matches("]: ").count(), 5, "{said}");
    }

    #[test]
    fn what_was_said_before_is_not_asked() {
        let found = Found { postfix: true, ..Found::default() };
        let mut given =
            GivenAnswers::parse("proxy = \"192.0.2.10\"\nproduct = \"envoy\"\nservices = [\"smtp\"]\n")
                .unwrap();
        given.hostname = Some("mx1.example.org".to_owned());
        let (same, said) = asked(&found, given.clone(), "");
        assert_eq!((same.unwrap(), said.as_str()), (given, ""));
    }

    #[test]
    fn answers_that_end_or_are_never_usable_are_an_error() {
        let found = Found::default();
        assert_eq!(
            asked(&found, GivenAnswers::default(), "haproxy\n").0.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        let never = asked(&found, GivenAnswers::default(), "caddy\ncaddy\ncaddy\n");
        assert_eq!(
            never.0.unwrap_err().to_string(),
            "no usable answer to: Which program is the proxy: haproxy, nginx, traefik or envoy?"
        );
        assert_eq!(never.1.matches("\"caddy\" is not known here").count(), TRIES);
    }
}
