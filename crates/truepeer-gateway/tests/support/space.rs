//! A network namespace for one test: every port is free there, low ones too, and nobody else is in it.

use std::process::Command;

/// Runs `test`, the test of that name (`file::function`), in a namespace of its own.
pub fn inside(name: &str, test: impl FnOnce()) {
    const INSIDE: &str = "TRUEPEER_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        return test();
    }
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.arg("--map-root-user");
    }
    let again = command
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("`unshare` of util-linux");
    let said = [again.stdout, again.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}
