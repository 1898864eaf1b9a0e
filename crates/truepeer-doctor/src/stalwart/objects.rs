//! The newer form: objects in JSON, as the server's own tools and its API write them.
//!
//! Read are a plan for `stalwart-cli apply` (a list of operations, or one a line), calls and answers of the API, and
//! objects by the name of their kind. What is in them becomes entries under the keys that the older form had.

use serde_json::{Map, Value};

use super::Unreadable;
use super::flat::{Assignment, Position, Syntax};

/// The longest text that is shown of a value.
const MAX_SHOWN: usize = 60;

/// Reads a whole file.
pub(super) fn read(text: &str) -> Result<Vec<Assignment>, Unreadable> {
    let mut found = Found::default();
    let mut documents = 0_usize;
    let stream = serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}')).into_iter::<Value>();
    for document in stream {
        let document = document.map_err(|error| {
            // The reason without its own "at line 1 column 2".
            let said = error.to_string();
            let reason = said.split_once(" at line ").map_or(said.as_str(), |(reason, _)| reason);
            Unreadable::at(error.line().max(1), format!("{reason} (column {})", error.column()))
        })?;
        documents = documents.saturating_add(1);
        found.document(&document);
    }
    if documents == 0 {
        return Err(Unreadable::whole("there is nothing in this file"));
    }
    Ok(found.entries)
}

#[derive(Default)]
struct Found {
    entries: Vec<Assignment>,
}

impl Found {
    fn document(&mut self, document: &Value) {
        match document {
            Value::Array(operations) => operations.iter().for_each(|operation| self.document(operation)),
            Value::Object(map) => {
                if let Some(kind) = map.get("object").and_then(Value::as_str) {
                    self.operation(kind, map);
                } else if let Some(calls) = map.get("methodCalls").or_else(|| map.get("methodResponses")) {
                    calls.as_array().into_iter().flatten().for_each(|call| self.call(call));
                } else {
                    for (kind, value) in map {
                        self.kind(kind, value);
                    }
                }
            }
            other => self.unknown("", other),
        }
    }

    /// One operation of a plan.
    fn operation(&mut self, kind: &str, operation: &Map<String, Value>) {
        let value = operation.get("value").unwrap_or(&Value::Null);
        let what = operation.get("@type").and_then(Value::as_str).unwrap_or_default();
        match what {
            // Every object of it, by an id of the plan's own.
            "create" | "upsert" | "reconcile" => self.kind(kind, value),
            "update" => match value {
                Value::Object(body) => self.object(kind, None, body),
                other => self.unknown(kind, other),
            },
            "destroy" => {}
            _ => self.unknown(kind, &Value::Object(operation.clone())),
        }
    }

    /// `["x:NetworkListener/get", {...}, "c1"]`
    fn call(&mut self, call: &Value) {
        let name = call.get(0).and_then(Value::as_str).unwrap_or_default();
        let Some((kind, _)) = name.split_once('/') else { return self.unknown("", call) };
        let arguments = call.get(1).unwrap_or(&Value::Null);
        for part in ["list", "create", "update"] {
            match arguments.get(part) {
                None | Some(Value::Null) => {}
                Some(objects) => self.kind(kind, objects),
            }
        }
    }

    /// Objects of one kind: a list of them, one each under an id, or one that stands for itself.
    fn kind(&mut self, kind: &str, value: &Value) {
        let objects = |map: &Map<String, Value>| !map.is_empty() && map.values().all(Value::is_object);
        match value {
            Value::Array(list) => {
                for item in list {
                    match item {
                        Value::Object(body) => self.object(kind, None, body),
                        other => self.unknown(kind, other),
                    }
                }
            }
            Value::Object(map) if objects(map) && !is_body(map) => {
                for (id, body) in map {
                    if let Value::Object(body) = body {
                        self.object(kind, Some(id), body);
                    }
                }
            }
            Value::Object(body) => self.object(kind, None, body),
            other => self.unknown(kind, other),
        }
    }

    fn object(&mut self, kind: &str, id: Option<&str>, body: &Map<String, Value>) {
        let name = kind.strip_prefix("x:").unwrap_or(kind);
        let text = |field: &str| body.get(field).and_then(Value::as_str);
        let own = text("name").or(text("address")).or(id);
        let place = match own {
            Some(own) => format!("{name} {own:?}"),
            None => name.to_owned(),
        };
        let plain = name.replace('-', "").to_ascii_lowercase();
        for (field, value) in body {
            let key = match (plain.as_str(), field.as_str()) {
                (_, "@type" | "id" | "blobId") => continue,
                ("networklistener", "name") => continue,
                ("networklistener", field) => {
                    format!("server.listener.{}.{}", own.unwrap_or("unnamed"), listener_key(field))
                }
                ("systemsettings", "proxyTrustedNetworks") => "server.proxy.trusted-networks".to_owned(),
                ("systemsettings", "defaultHostname") => "server.hostname".to_owned(),
                ("systemsettings", "maxConnections") => "server.max-connections".to_owned(),
                ("blockedip", "address") | ("allowedip", "address") => {
                    let list = if plain == "blockedip" { "blocked" } else { "allowed" };
                    if let Some(addr) = value.as_str() {
                        let key = format!("server.{list}-ip.{addr}");
                        self.push(key, String::new(), &place, Syntax::Member);
                        continue;
                    }
                    format!("{name}.address")
                }
                ("blockedip" | "allowedip", "reason" | "createdAt") => continue,
                ("http", "useXForwarded") => "http.use-x-forwarded".to_owned(),
                _ => format!("{name}.{field}"),
            };
            self.value(key, value, &place);
        }
    }

    fn value(&mut self, key: String, value: &Value, place: &str) {
        match value {
            Value::Null => {}
            Value::String(text) => self.push(key, text.clone(), place, Syntax::Value),
            Value::Bool(_) | Value::Number(_) => self.push(key, value.to_string(), place, Syntax::Value),
            Value::Array(items) if items.is_empty() => self.push(key, String::new(), place, Syntax::Empty),
            Value::Object(map) if map.is_empty() => self.push(key, String::new(), place, Syntax::Empty),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let key = format!("{key}.{index:04}");
                    match item {
                        Value::String(text) => self.push(key, text.clone(), place, Syntax::Element),
                        other => self.value(key, other, place),
                    }
                }
            }
            Value::Object(map) => {
                for (name, value) in map {
                    let key = format!("{key}.{name}");
                    match value {
                        // A map used as a set.
                        Value::Bool(true) => self.push(key, String::new(), place, Syntax::Member),
                        other => self.value(key, other, place),
                    }
                }
            }
        }
    }

    fn push(&mut self, key: String, value: String, place: &str, form: Syntax) {
        self.entries.push(Assignment { key, value, place: Position::Object(place.to_owned()), form });
    }

    /// Told, not dropped.
    fn unknown(&mut self, kind: &str, value: &Value) {
        let shown: String = value.to_string().chars().take(MAX_SHOWN).collect();
        let place = if kind.is_empty() { "somewhere in the file" } else { kind };
        self.push(format!("{kind} {shown}").trim().to_owned(), String::new(), place, Syntax::Value);
    }
}

/// Whether a map of maps is one object of ours and not one under each id.
fn is_body(map: &Map<String, Value>) -> bool {
    ["bind", "protocol", "proxyTrustedNetworks", "overrideProxyTrustedNetworks", "address"]
        .iter()
        .any(|field| map.contains_key(*field))
}

/// The key that a listener's field had in the older form.
fn listener_key(field: &str) -> &str {
    match field {
        "overrideProxyTrustedNetworks" => "proxy.trusted-networks",
        "tlsImplicit" => "tls.implicit",
        "useTls" => "tls.enable",
        "maxConnections" => "max-connections",
        "tlsTimeout" => "tls.timeout",
        "tlsDisableProtocols" => "tls.disable-protocols",
        "tlsDisableCipherSuites" => "tls.disable-ciphers",
        "tlsIgnoreClientOrder" => "tls.ignore-client-order",
        "socketBacklog" => "socket.backlog",
        "socketNoDelay" => "socket.nodelay",
        "socketReuseAddress" => "socket.reuse-addr",
        "socketReusePort" => "socket.reuse-port",
        "socketSendBufferSize" => "socket.send-buffer-size",
        "socketReceiveBufferSize" => "socket.recv-buffer-size",
        "socketTosV4" => "socket.tos",
        "socketTtl" => "socket.ttl",
        other => other,
    }
}
