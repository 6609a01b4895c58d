//! `egtp keygen` and `egtp id`, and what they refuse.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use common::{Finished, TestDir};

#[test]
fn a_new_key_is_private_and_has_the_id_that_keygen_printed() {
    let dir = TestDir::new();
    let made = dir.egtp(["keygen", "--key", "k"]);
    made.assert_done();
    assert_eq!(made.text().trim_end().len(), 32);
    assert_eq!(fs::metadata(dir.path("k")).unwrap().permissions().mode() & 0o777, 0o600);
    let read = dir.egtp(["id", "--key", "k"]);
    read.assert_done();
    assert_eq!(read.text(), made.text());
}

#[test]
fn without_a_name_the_key_is_in_the_data_directory() {
    let dir = TestDir::new();
    let made = dir.egtp(["keygen"]);
    made.assert_done();
    assert!(dir.path("egtp/key").exists());
    assert_eq!(dir.egtp(["id"]).text(), made.text());
}

#[test]
fn without_the_variable_the_data_directory_is_in_the_home_directory() {
    let dir = TestDir::new();
    let mut command = dir.command(env!("CARGO_BIN_EXE_egtp"));
    command.arg("keygen").env_remove("XDG_DATA_HOME").env("HOME", dir.path("home"));
    Finished::wait(command.spawn().unwrap()).assert_done();
    assert!(dir.path("home/.local/share/egtp/key").exists());
}

#[test]
fn a_key_file_is_never_overwritten() {
    let dir = TestDir::new();
    dir.write("k", "precious");
    dir.egtp(["keygen", "--key", "k"]).assert_refused(&["--key", "exists already", "was left as it is"]);
    assert_eq!(fs::read(dir.path("k")).unwrap(), b"precious");
}

#[test]
fn a_key_that_cannot_be_written_whole_leaves_nothing() {
    let dir = TestDir::new();
    let mut command = dir.command("/bin/sh");
    // A file size limit of zero has the effect of a full disk.
    command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" keygen --key k", env!("CARGO_BIN_EXE_egtp")]);
    Finished::wait(command.spawn().unwrap()).assert_refused(&["--key", "cannot be written", "nothing was kept"]);
    assert!(!dir.path("k").exists());
}

#[test]
fn a_key_file_that_cannot_be_used_is_refused_by_every_command_and_left_alone() {
    let dir = TestDir::new();
    dir.egtp(["keygen", "--key", "good"]).assert_done();
    let good = fs::read(dir.path("good")).unwrap();
    let file = |name, bytes: &[u8], mode| {
        let path = dir.write(name, bytes);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    file("short", &good[..40], 0o600);
    file("long", &[&good[..], b"x"].concat(), 0o600);
    file("open", &good, 0o644);
    for (name, mentioned) in
        [("missing", "keygen"), ("short", "not a key file"), ("long", "not a key file"), ("open", "chmod 600")]
    {
        let id = "yryonyebyryonyebyryonyebyryonyeb";
        dir.egtp(["id", "--key", name]).assert_refused(&["--key", name, mentioned]);
        dir.egtp(["serve", "--key", name]).assert_refused(&["--key", name, mentioned]);
        dir.egtp(["ask", id, "echo", "--key", name]).assert_refused(&["--key", name, mentioned]);
    }
    assert_eq!(fs::read(dir.path("short")).unwrap(), &good[..40]);
    assert!(!dir.path("missing").exists());
}
