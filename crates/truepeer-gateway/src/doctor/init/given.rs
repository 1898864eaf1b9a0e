//! What the operator says: in a file of answers, or question by question.

use std::fmt;
use std::net::IpAddr;

use toml::de::{DeTable, DeValue};

use super::{Answers, Found, Service};
use crate::doctor::snippet::ProxyProduct;

/// Answers so far; what is `None` has its default, where there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenAnswers {
    /// Where the proxy connects from.
    pub proxies: Option<Vec<IpAddr>>,
    /// Which program it is.
    pub product: Option<ProxyProduct>,
    /// What is served.
    pub services: Option<Vec<Service>>,
    /// What this host is called.
    pub hostname: Option<String>,
}

/// Why answers cannot be used, in words that say what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswersError(pub String);

impl fmt::Display for AnswersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AnswersError {}

/// The keys of a file of answers.
const KEYS: &str = "`proxy`, `product`, `services` and `hostname`";

/// The proxies, each with its word.
const PRODUCTS: [(&str, ProxyProduct); 4] = [
    ("haproxy", ProxyProduct::Haproxy),
    ("nginx", ProxyProduct::Nginx),
    ("traefik", ProxyProduct::Traefik),
    ("envoy", ProxyProduct::Envoy),
];

impl GivenAnswers {
    /// Reads a file of answers: TOML, every key optional.
    ///
    /// # Errors
    /// If it is no TOML, or a key or a value is not known.
    pub fn parse(text: &str) -> Result<Self, AnswersError> {
        let table = DeTable::parse(text).map_err(|error| AnswersError(error.to_string()))?;
        let mut given = Self::default();
        for (key, value) in table.get_ref() {
            let key = key.get_ref();
            let words = words(key, value.get_ref())?;
            let read = match key.as_ref() {
                "proxy" => given.set_proxies(&words),
                "product" => given.set_product(&words),
                "services" => given.set_services(&words),
                "hostname" => given.set_hostname(&words),
                _ => Err(AnswersError(format!("no answer is called that; there are {KEYS}"))),
            };
            read.map_err(|error| AnswersError(format!("`{key}`: {error}")))?;
        }
        Ok(given)
    }

    /// The word of a product.
    #[must_use]
    pub fn word(product: ProxyProduct) -> &'static str {
        PRODUCTS.iter().find(|(_, known)| *known == product).map_or("proxy", |(word, _)| word)
    }

    /// `proxy`
    ///
    /// # Errors
    /// If one is no address, or a network.
    pub fn set_proxies(&mut self, words: &[&str]) -> Result<(), AnswersError> {
        const FORM: &str = "write single addresses, such as 192.0.2.10 or 2001:db8::10";
        let read = |word: &&str| match word.parse::<IpAddr>() {
            Ok(addr) if addr.is_unspecified() || addr.is_multicast() => {
                Err(AnswersError(format!("nobody connects from {addr}; {FORM}")))
            }
            Ok(addr) => Ok(addr.to_canonical()),
            Err(_) if word.contains('/') => Err(AnswersError(format!(
                "{word:?} is a network: any host in it could claim to be any client; {FORM}"
            ))),
            Err(_) => Err(AnswersError(format!("{word:?} is no address; {FORM}"))),
        };
        let proxies = words.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if proxies.is_empty() {
            return Err(AnswersError(format!("there is none; {FORM}")));
        }
        self.proxies = Some(proxies);
        Ok(())
    }

    /// `product`
    ///
    /// # Errors
    /// If no lines are known for it.
    pub fn set_product(&mut self, words: &[&str]) -> Result<(), AnswersError> {
        let known = PRODUCTS.map(|(name, _)| name).join(", ");
        let [word] = words else { return Err(AnswersError(format!("write one of {known}"))) };
        let product = PRODUCTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        let (_, product) = product.ok_or_else(|| {
            AnswersError(format!("{word:?} is not known here; write one of {known}, the nearest to yours"))
        })?;
        self.product = Some(*product);
        Ok(())
    }

    /// `services`
    ///
    /// # Errors
    /// If one is not known.
    pub fn set_services(&mut self, words: &[&str]) -> Result<(), AnswersError> {
        let known = Service::ALL.map(Service::name).join(", ");
        let read = |word: &&str| {
            Service::parse(word)
                .ok_or_else(|| AnswersError(format!("{word:?} is no service here; there are {known}")))
        };
        let mut services = words.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if services.is_empty() {
            return Err(AnswersError(format!("there is none; write some of {known}")));
        }
        services.sort_by_key(|service| service.port());
        services.dedup();
        self.services = Some(services);
        Ok(())
    }

    /// `hostname`; whether it is a name is the configuration's to say.
    ///
    /// # Errors
    /// If it is not one word.
    pub fn set_hostname(&mut self, words: &[&str]) -> Result<(), AnswersError> {
        let [word] = words else {
            return Err(AnswersError("write one name, such as mx1.example.org".into()));
        };
        self.hostname = Some((*word).to_owned());
        Ok(())
    }

    /// What holds where nothing was said, as far as this machine shows it.
    #[must_use]
    pub fn or_found(self, found: &Found) -> Self {
        let here = || (found.haproxy || found.nginx).then(|| vec![IpAddr::from([127, 0, 0, 1])]);
        let product = if found.nginx && !found.haproxy { ProxyProduct::Nginx } else { ProxyProduct::Haproxy };
        let offered = |service: &Service| {
            // Without a listener to see, a mailbox server is one for the port that every client knows.
            let is_used = found.listening.contains(&service.port());
            service.server(found).is_some() && (is_used || *service != Service::Imaps)
        };
        let services = || {
            Some(Service::ALL.into_iter().filter(offered).collect()).filter(|all: &Vec<_>| !all.is_empty())
        };
        Self {
            proxies: self.proxies.or_else(here),
            product: self.product.or(Some(product)),
            services: self.services.or_else(services),
            hostname: self.hostname,
        }
    }

    /// Everything that a plan needs; `towards` says by which address of this machine a proxy reaches it.
    ///
    /// # Errors
    /// If something was neither said nor found.
    pub fn complete(self, towards: impl Fn(IpAddr) -> Option<IpAddr>) -> Result<Answers, AnswersError> {
        let proxies = self.proxies.ok_or_else(|| {
            AnswersError(
                "no proxy is installed here, so it is elsewhere: say from which address it connects \
                 (`proxy = \"192.0.2.10\"` in a file for --answers)"
                    .into(),
            )
        })?;
        let services = self.services.ok_or_else(|| {
            AnswersError(
                "neither Postfix, Exim nor Dovecot is installed here; for a server elsewhere start from \
                 packaging/examples, or /usr/share/doc/truepeer/examples"
                    .into(),
            )
        })?;
        let mut here = Vec::new();
        for proxy in &proxies {
            let own = towards(*proxy).ok_or_else(|| {
                AnswersError(format!(
                    "`proxy`: this machine has no route to {proxy}, so it cannot be reached from there"
                ))
            })?;
            if !here.contains(&own) {
                here.push(own);
            }
        }
        let product = self.product.unwrap_or(ProxyProduct::Haproxy);
        Ok(Answers { proxies, product, services, hostname: self.hostname, here })
    }
}

/// One string, or a list of them.
fn words<'v>(key: &str, value: &'v DeValue<'_>) -> Result<Vec<&'v str>, AnswersError> {
    let wrong = || AnswersError(format!("`{key}`: write a string, or a list of strings"));
    match value {
        DeValue::String(word) => Ok(vec![word]),
        DeValue::Array(list) => list
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(word) => Ok(word.as_ref()),
                _ => Err(wrong()),
            })
            .collect(),
        _ => Err(wrong()),
    }
}
