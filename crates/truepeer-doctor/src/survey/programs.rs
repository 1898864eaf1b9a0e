//! Which of the running processes are programs whose configuration we read, and how each of them shows it.
//!
//! Pure: a process's words in, a plan out. Nothing is run or opened here; the caller carries the plan out and decides
//! what it may run, for a stranger can give a process any words (see [`Program::vouched`]).

use crate::Product;

/// The most programs that are looked at; a machine with more of them is not one that a person reads about.
pub const MAX_PROGRAMS: usize = 32;

/// A process, as `/proc/PID` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The user who started it (the real one: a set-user-id program obeys its caller's words).
    pub user: u32,
    /// Its words, the first of which is its name.
    pub args: Vec<String>,
    /// The file that it runs; `None` where that may not be seen.
    pub exe: Option<String>,
    /// Where it stands, from which relative paths count.
    pub directory: Option<String>,
    /// `MAIL_CONFIG` of its environment, by which Postfix knows its folder.
    pub mail_config: Option<String>,
}

/// How a configuration is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// The program prints it: the name of the printing program, and its words.
    Print {
        /// A file name, without a folder.
        program: &'static str,
        /// Behind it.
        args: Vec<String>,
        /// Whether the words name a place that the process chose, rather than the program's default.
        chosen: bool,
    },
    /// A file, or a folder of files.
    File(String),
}

/// A program that runs, or is installed, on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Which.
    pub product: Product,
    /// Its processes that are known; none where it does not run.
    pub pids: Vec<u32>,
    /// The file that it runs, where that may be seen.
    pub exe: Option<String>,
    /// The user who started it.
    pub user: u32,
    /// How its configuration is seen, all of them together.
    pub sources: Vec<Way>,
    /// How it is seen where the program does not print it.
    pub otherwise: Vec<Way>,
}

impl Program {
    /// Whether the words of the process may be handed to another program that runs with the rights of `user`: only if
    /// that user or root gave them, and the file shows that it is what it calls itself.
    #[must_use]
    pub fn vouched(&self, user: u32) -> bool {
        self.pids.is_empty() || (self.exe.is_some() && (self.user == 0 || self.user == user))
    }
}

/// The programs among `processes`, each configuration once, and at most [`MAX_PROGRAMS`].
#[must_use]
pub fn programs(processes: &[Process]) -> Vec<Program> {
    let mut found: Vec<Program> = Vec::new();
    for program in processes.iter().filter_map(recognise) {
        let is_same = |other: &&mut Program| {
            (other.product, &other.sources, other.user) == (program.product, &program.sources, program.user)
        };
        if let Some(other) = found.iter_mut().find(is_same) {
            other.pids.extend(program.pids);
        } else if found.len() < MAX_PROGRAMS {
            found.push(program);
        }
    }
    found
}

/// What `process` is, if it is one that we know; workers whose master shows the configuration are none.
#[must_use]
pub fn recognise(process: &Process) -> Option<Program> {
    let args = titled(&process.args);
    let name = file_name(args.first()?);
    let known = KNOWN.iter().find(|known| known.names.contains(&name))?;
    let exe = process.exe.as_deref();
    // Where the file may be seen it has the last word; a program that was upgraded is marked as deleted.
    let is_itself = |exe: &str| known.names.contains(&file_name(exe.trim_end_matches(" (deleted)")));
    if !exe.is_none_or(is_itself) {
        return None;
    }
    let words = Words { args: args.get(1..)?, process };
    // `master` is a common name.
    if known.product == Product::Postfix && !exe.unwrap_or(args.first()?).contains("postfix") {
        return None;
    }
    // Only the front door, not its tools.
    if known.product == Product::Truepeer && words.args.first().is_none_or(|word| word != "run") {
        return None;
    }
    let (sources, otherwise) = (known.shows)(&words);
    Some(Program {
        product: known.product,
        pids: vec![process.pid],
        exe: process.exe.clone(),
        user: process.user,
        sources,
        otherwise,
    })
}

/// What a program that is installed and does not run would show: `None` for those without a usual place.
#[must_use]
pub fn installed(product: Product) -> Option<Program> {
    let known = KNOWN.iter().find(|known| known.product == product)?;
    let process = Process::default();
    let (mut sources, otherwise) = (known.shows)(&Words { args: &[], process: &process });
    // To print, nginx opens its logs and, for a moment, its ports.
    if product == Product::Nginx {
        sources.clone_from(&otherwise);
    }
    let none = sources.is_empty();
    (!none).then_some(Program { product, pids: Vec::new(), exe: None, user: 0, sources, otherwise })
}

/// The names of the files by which each program is found installed.
pub fn installable() -> impl Iterator<Item = (Product, &'static str)> {
    KNOWN.iter().filter_map(|known| Some((known.product, known.installed_as?)))
}

type Shows = fn(&Words<'_>) -> (Vec<Way>, Vec<Way>);

/// A program: what its processes are called, and how it shows its configuration.
struct Known {
    product: Product,
    names: &'static [&'static str],
    /// The file that shows that it is installed.
    installed_as: Option<&'static str>,
    shows: Shows,
}

const KNOWN: &[Known] = &[
    Known { product: Product::Haproxy, names: &["haproxy"], installed_as: Some("haproxy"), shows: haproxy },
    Known { product: Product::Nginx, names: &["nginx"], installed_as: Some("nginx"), shows: nginx },
    Known { product: Product::Postfix, names: &["master"], installed_as: Some("postconf"), shows: postfix },
    Known { product: Product::Dovecot, names: &["dovecot"], installed_as: Some("doveconf"), shows: dovecot },
    Known { product: Product::Exim, names: &["exim", "exim4"], installed_as: None, shows: exim },
    Known { product: Product::Opensmtpd, names: &["smtpd"], installed_as: None, shows: opensmtpd },
    Known { product: Product::Caddy, names: &["caddy"], installed_as: None, shows: caddy },
    Known { product: Product::Traefik, names: &["traefik"], installed_as: None, shows: traefik },
    Known { product: Product::Envoy, names: &["envoy"], installed_as: None, shows: envoy },
    Known { product: Product::Hitch, names: &["hitch"], installed_as: None, shows: hitch },
    Known { product: Product::Stunnel, names: &["stunnel", "stunnel4"], installed_as: None, shows: stunnel },
    Known {
        product: Product::Sslh,
        names: &["sslh", "sslh-select", "sslh-fork", "sslh-ev"],
        installed_as: None,
        shows: sslh,
    },
    Known { product: Product::Varnish, names: &["varnishd"], installed_as: None, shows: varnish },
    Known { product: Product::Truepeer, names: &["truepeer"], installed_as: None, shows: truepeer },
    Known {
        product: Product::Stalwart,
        names: &["stalwart", "stalwart-mail"],
        installed_as: None,
        shows: stalwart,
    },
];

fn haproxy(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let mut files = words.values(&["-f"], &[]);
    // Whatever stands behind two dashes is a file, too.
    files.extend(words.args.iter().skip_while(|word| *word != "--").skip(1).cloned());
    if files.is_empty() {
        files.push("/etc/haproxy/haproxy.cfg".to_owned());
    }
    // `-C` changes the directory before anything is read.
    let from = words.values(&["-C"], &[]).pop();
    let place = |file: String| Way::File(words.place_from(from.as_deref(), file));
    (files.into_iter().map(place).collect(), Vec::new())
}

fn nginx(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let mut args = vec!["-T".to_owned(), "-q".to_owned()];
    let prefix = words.values(&["-p"], &[]).pop();
    let file = words.values(&["-c"], &[]).pop();
    for (word, value) in [("-p", &prefix), ("-c", &file)] {
        if let Some(value) = value {
            args.extend([word.to_owned(), words.place(value.clone())]);
        }
    }
    // Not `-g`, whose words a title no longer shows as one; no directive about headers can stand there.
    let chosen = args.len() > 2;
    let file =
        words.place_from(prefix.as_deref(), file.unwrap_or_else(|| "/etc/nginx/nginx.conf".to_owned()));
    (vec![Way::Print { program: "nginx", args, chosen }], vec![Way::File(file)])
}

fn postfix(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let folder = words.values(&["-c"], &[]).pop().or_else(|| words.process.mail_config.clone());
    let with = |rest: &[&str]| {
        let mut args = Vec::new();
        if let Some(folder) = &folder {
            args.extend(["-c".to_owned(), words.place(folder.clone())]);
        }
        args.extend(rest.iter().map(|word| (*word).to_owned()));
        Way::Print { program: "postconf", args, chosen: folder.is_some() }
    };
    let at = folder.clone().map_or_else(|| "/etc/postfix".to_owned(), |folder| words.place(folder));
    let files = ["main.cf", "master.cf"].map(|file| Way::File(format!("{at}/{file}")));
    (vec![with(&["-n"]), with(&["-Mf"])], files.into())
}

fn dovecot(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let file = words.values(&["-c"], &[]).pop().map(|file| words.place(file));
    let mut args = vec!["-n".to_owned()];
    if let Some(file) = &file {
        args.extend(["-c".to_owned(), file.clone()]);
    }
    let chosen = file.is_some();
    let file = file.unwrap_or_else(|| "/etc/dovecot/dovecot.conf".to_owned());
    (vec![Way::Print { program: "doveconf", args, chosen }], vec![Way::File(file)])
}

fn exim(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let file = words.values(&["-C"], &[]).pop().map(|file| words.place(file));
    let mut args = vec!["-bP".to_owned()];
    if let Some(file) = &file {
        args.extend(["-C".to_owned(), file.clone()]);
    }
    let program =
        if words.process.args.first().is_some_and(|name| name.ends_with("exim4")) { "exim4" } else { "exim" };
    let otherwise = file.clone().map(Way::File).into_iter().collect();
    (vec![Way::Print { program, args, chosen: file.is_some() }], otherwise)
}

fn opensmtpd(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let file = words.values(&["-f"], &[]).pop().map(|file| words.place(file));
    (vec![Way::File(file.unwrap_or_else(|| "/etc/smtpd.conf".to_owned()))], Vec::new())
}

fn caddy(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let file = words.values(&["-c"], &["--config"]).pop().map(|file| words.place(file));
    let chosen = file.is_some();
    let file = file.unwrap_or_else(|| "/etc/caddy/Caddyfile".to_owned());
    let args = vec!["adapt".to_owned(), "--pretty".to_owned(), "--config".to_owned(), file.clone()];
    (vec![Way::Print { program: "caddy", args, chosen }], vec![Way::File(file)])
}

fn traefik(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let named = ["--configfile", "--configFile", "--providers.file.filename", "--providers.file.directory"];
    let mut files = words.values(&[], &named);
    if files.is_empty() {
        files.push("/etc/traefik/traefik.yml".to_owned());
    }
    (files.into_iter().map(|file| Way::File(words.place(file))).collect(), Vec::new())
}

fn envoy(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let file = words.values(&["-c"], &["--config-path"]).pop();
    let file = file.unwrap_or_else(|| "/etc/envoy/envoy.yaml".to_owned());
    (vec![Way::File(words.place(file))], Vec::new())
}

fn hitch(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let file = words.values(&[], &["--config"]).pop();
    let file = file.unwrap_or_else(|| "/etc/hitch/hitch.conf".to_owned());
    (vec![Way::File(words.place(file))], Vec::new())
}

fn stunnel(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let file = words.args.iter().find(|word| !word.starts_with('-')).cloned();
    let file = file.unwrap_or_else(|| "/etc/stunnel/stunnel.conf".to_owned());
    (vec![Way::File(words.place(file))], Vec::new())
}

fn sslh(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let file = words.values(&["-F"], &["--config"]).pop();
    let file = file.unwrap_or_else(|| "/etc/sslh/sslh.cfg".to_owned());
    (vec![Way::File(words.place(file))], Vec::new())
}

/// Where varnishd listens stands in its words alone; which header its backends get, in its VCL.
fn varnish(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let vcl = words.values(&["-f"], &[]).into_iter().map(|file| Way::File(words.place(file)));
    let own = Way::File(format!("/proc/{}/cmdline", words.process.pid));
    (std::iter::once(own).chain(vcl).collect(), Vec::new())
}

fn stalwart(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let file = words.values(&["-c"], &["--config"]).pop();
    let file = file.unwrap_or_else(|| "/opt/stalwart/etc/config.toml".to_owned());
    (vec![Way::File(words.place(file))], Vec::new())
}

fn truepeer(words: &Words<'_>) -> (Vec<Way>, Vec<Way>) {
    let file = words.values(&[], &["--config"]).pop();
    let file = file.unwrap_or_else(|| "/etc/truepeer/truepeer.toml".to_owned());
    (vec![Way::File(words.place(file))], Vec::new())
}

/// What stands behind a program's name.
struct Words<'a> {
    args: &'a [String],
    process: &'a Process,
}

impl Words<'_> {
    /// The values of an option: `-c VALUE`, `-cVALUE`, `--config VALUE`, `--config=VALUE`.
    fn values(&self, short: &[&str], long: &[&str]) -> Vec<String> {
        let mut values = Vec::new();
        let mut args = self.args.iter();
        while let Some(word) = args.next() {
            if word == "--" {
                break;
            }
            if short.contains(&word.as_str()) || long.contains(&word.as_str()) {
                values.extend(args.next().cloned());
                continue;
            }
            let attached =
                long.iter().find_map(|name| word.strip_prefix(name)?.strip_prefix('=')).or_else(|| {
                    short.iter().filter(|_| !word.starts_with("--")).find_map(|name| word.strip_prefix(name))
                });
            values.extend(attached.map(str::to_owned));
        }
        values
    }

    /// A path that counts from where the process stands.
    fn place(&self, path: String) -> String {
        self.place_from(None, path)
    }

    fn place_from(&self, from: Option<&str>, path: String) -> String {
        if path.starts_with('/') {
            return path;
        }
        match from.filter(|from| from.starts_with('/')).or(self.process.directory.as_deref()) {
            Some(from) => format!("{}/{path}", from.trim_end_matches('/')),
            None => path,
        }
    }
}

/// The words of a process; some programs write a title of their own over them, as one word.
fn titled(args: &[String]) -> Vec<String> {
    const TITLES: &[&str] = &["nginx: master process "];
    let title = args.first().and_then(|first| TITLES.iter().find_map(|title| first.strip_prefix(title)));
    match title {
        Some(words) => words.split_ascii_whitespace().map(str::to_owned).collect(),
        None => args.to_vec(),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, words: &str, exe: Option<&str>) -> Process {
        Process {
            pid,
            args: words.split(' ').map(str::to_owned).collect(),
            exe: exe.map(str::to_owned),
            directory: Some("/srv".to_owned()),
            ..Process::default()
        }
    }

    fn plan(words: &str, exe: &str) -> Vec<String> {
        recognise(&process(7, words, Some(exe))).map(|found| shown(&found.sources)).unwrap_or_default()
    }

    fn shown(sources: &[Way]) -> Vec<String> {
        let one = |source: &Way| match source {
            Way::Print { program, args, .. } => format!("{program} {}", args.join(" ")),
            Way::File(path) => path.clone(),
        };
        sources.iter().map(one).collect()
    }

    #[test]
    fn each_program_shows_its_configuration_in_its_own_way() {
        for (words, exe, expected) in [
            (
                "/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg -f conf.d -p /run/haproxy.pid",
                "/usr/sbin/haproxy",
                &["/etc/haproxy/haproxy.cfg", "/srv/conf.d"][..],
            ),
            (
                "haproxy -C /opt/ha -W -db -- a.cfg b.cfg",
                "/usr/sbin/haproxy",
                &["/opt/ha/a.cfg", "/opt/ha/b.cfg"],
            ),
            ("haproxy", "/usr/sbin/haproxy", &["/etc/haproxy/haproxy.cfg"]),
            ("/usr/sbin/nginx", "/usr/sbin/nginx", &["nginx -T -q"]),
            (
                "nginx -p /opt/n -c /opt/n/x.conf",
                "/usr/sbin/nginx",
                &["nginx -T -q -p /opt/n -c /opt/n/x.conf"],
            ),
            (
                "/usr/lib/postfix/sbin/master -w",
                "/usr/lib/postfix/sbin/master",
                &["postconf -n", "postconf -Mf"],
            ),
            ("/usr/sbin/dovecot -F", "/usr/sbin/dovecot", &["doveconf -n"]),
            ("dovecot -F -c d.conf", "/usr/sbin/dovecot", &["doveconf -n -c /srv/d.conf"]),
            ("/usr/sbin/exim4 -bd -q30m", "/usr/sbin/exim4", &["exim4 -bP"]),
            ("/usr/sbin/exim -C/etc/x.conf -bd", "/usr/sbin/exim", &["exim -bP -C /etc/x.conf"]),
            (
                "caddy run --config=/etc/Caddyfile",
                "/usr/bin/caddy",
                &["caddy adapt --pretty --config /etc/Caddyfile"],
            ),
            ("traefik --configFile=/t.yml", "/usr/bin/traefik", &["/t.yml"]),
            ("envoy --config-path e.yaml", "/usr/bin/envoy", &["/srv/e.yaml"]),
            ("hitch --config=/h.conf", "/usr/sbin/hitch", &["/h.conf"]),
            ("stunnel4 /etc/stunnel/a.conf", "/usr/bin/stunnel4", &["/etc/stunnel/a.conf"]),
            ("sslh -F/etc/s.cfg", "/usr/sbin/sslh", &["/etc/s.cfg"]),
            ("varnishd -a :80 -f v.vcl", "/usr/sbin/varnishd", &["/proc/7/cmdline", "/srv/v.vcl"]),
            ("truepeer run --config t.toml", "/usr/bin/truepeer", &["/srv/t.toml"]),
            ("truepeer doctor", "/usr/bin/truepeer", &[]),
            ("stalwart --config /s.toml", "/usr/bin/stalwart", &["/s.toml"]),
            // Another program of that name, and another name for a program.
            ("/usr/bin/master -w", "/usr/bin/master", &[]),
            ("/usr/sbin/nginx -c /tmp/x", "/usr/bin/passwd", &[]),
            ("nginx: worker process", "/usr/sbin/nginx", &[]),
            ("sshd", "/usr/sbin/sshd", &[]),
        ] {
            assert_eq!(plan(words, exe), expected, "{words}");
        }
    }

    #[test]
    fn a_title_that_nginx_writes_over_its_words_is_read() {
        let mut nginx = process(7, "", Some("/usr/sbin/nginx"));
        nginx.args = vec!["nginx: master process /usr/sbin/nginx -g daemon on;".to_owned()];
        assert_eq!(shown(&recognise(&nginx).unwrap().sources), ["nginx -T -q"]);
    }

    #[test]
    fn postfix_finds_its_folder_in_the_environment() {
        let mut master = process(7, "/usr/lib/postfix/sbin/master -w", Some("/usr/lib/postfix/sbin/master"));
        master.mail_config = Some("/etc/postfix-out".to_owned());
        let found = recognise(&master).unwrap();
        assert_eq!(
            shown(&found.sources),
            ["postconf -c /etc/postfix-out -n", "postconf -c /etc/postfix-out -Mf"]
        );
        assert_eq!(shown(&found.otherwise), ["/etc/postfix-out/main.cf", "/etc/postfix-out/master.cf"]);
    }

    #[test]
    fn master_and_worker_are_one_program_and_there_is_a_bound() {
        let words = "/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg";
        let both = [process(7, words, None), process(8, words, None)];
        let found = programs(&both);
        assert_eq!(found.len(), 1);
        assert_eq!(found.first().map(|program| program.pids.clone()), Some(vec![7, 8]));
        let many: Vec<_> = (0..200).map(|pid| process(pid, &format!("haproxy -f /{pid}"), None)).collect();
        assert_eq!(programs(&many).len(), MAX_PROGRAMS);
    }

    #[test]
    fn a_stranger_s_words_are_handed_to_nobody() {
        let mut program = recognise(&process(7, "nginx -c /tmp/x", Some("/usr/sbin/nginx"))).unwrap();
        assert!(program.vouched(0) && program.vouched(1000), "root gave them");
        program.user = 1000;
        assert!(
            program.vouched(1000) && !program.vouched(0),
            "a user's words are obeyed with that user's rights only"
        );
        program.exe = None;
        assert!(!program.vouched(1000), "who knows what that is");
    }
}
