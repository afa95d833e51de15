//! `arfw check`, as an operator sees it: exit status, every mistake at its place, and the same as JSON.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tests::support::daemon::binary;

const COMMAND: &str = "\
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
";

/// A file around these elements; their first line is the file's seventh.
fn file(elements: &str) -> String {
    format!("<ossec_config>\n{COMMAND}{elements}</ossec_config>\n")
}

/// Runs `arfw check` on a file named `ossec.conf` in the working directory.
fn run(text: &str, options: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("ossec.conf");
    fs::write(file, text).expect("a file can be written");
    let mut command = Command::new(binary());
    command.args(["check", "ossec.conf"]).args(options);
    command.current_dir(directory.path());
    command.output().expect("the binary can be started")
}

/// The exit status, what stands on standard output, and what stands on standard error.
fn check(text: &str, status: i32, answer: &str, diagnostics: &str) {
    let output = run(text, &[]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), diagnostics);
    assert_eq!(String::from_utf8_lossy(&output.stdout), answer);
    assert_eq!(output.status.code(), Some(status));
}

/// AR-CFG-18
#[test]
fn every_mistake_is_told_at_its_place_and_the_file_is_refused() {
    let text = file(
        "\
  <active-response>
    <command>firewal-drop</command>
    <location>company</location>
    <level>17</level>
    <timeout>10m</timeout>
  </active-response>
",
    );
    let diagnostics = "\
error: expected a command of this file
 --> ossec.conf:8:14
  |
8 |     <command>firewal-drop</command>
  |              ^^^^^^^^^^^^ found `firewal-drop`
  |
  = help: write `firewall-drop`

error: expected `local`, `server`, `defined-agent` or `all`
 --> ossec.conf:9:15
  |
9 |     <location>company</location>
  |               ^^^^^^^ found `company`

error: expected a level from 1 to 16
  --> ossec.conf:10:12
   |
10 |     <level>17</level>
   |            ^^ found `17`

error: expected a whole number of seconds
  --> ossec.conf:11:14
   |
11 |     <timeout>10m</timeout>
   |              ^^^ found `10m`
   |
   = help: write `600`
";
    let answer = "ossec.conf: 4 errors, 0 warnings; nothing of it is applied\n";
    check(&text, 3, answer, diagnostics);
}

/// AR-CFG-8, AR-CFG-13
#[test]
fn what_is_only_doubtful_is_told_and_accepted() {
    let text = file(
        "\
  <active-response>
    <command>firewall-drop</command>
    <location>any</location>
    <level>10</level>
    <timeout>0</timeout>
  </active-response>
",
    );
    let diagnostics = "\
warning: this is an old word for a location
 --> ossec.conf:9:15
  |
9 |     <location>any</location>
  |               ^^^ found `any`
  |
  = help: write `all`

warning: bans of this section never end
  --> ossec.conf:11:14
   |
11 |     <timeout>0</timeout>
   |              ^ found `0`
   |
   = help: leave `timeout` out if that is meant
";
    let answer = "ossec.conf: 0 errors, 2 warnings; 1 responses\n";
    check(&text, 0, answer, diagnostics);
}

/// AR-CFG-1, AR-CFG-18: what is not well formed is found where it begins to be so.
#[test]
fn a_text_that_is_not_well_formed_is_refused() {
    let diagnostics = "\
error: expected `</active-response>`
 --> ossec.conf:1:32
  |
1 | <ossec_config><active-response>
  |               -----------------^ found the end of the file
  |               |
  |               opened here
";
    let answer = "ossec.conf: 1 errors, 0 warnings; nothing of it is applied\n";
    check("<ossec_config><active-response>", 3, answer, diagnostics);
}

/// AR-CFG-1
#[test]
fn an_empty_file_is_valid() {
    check("", 0, "ossec.conf: 0 errors, 0 warnings; 0 responses\n", "");
}

/// AR-CFG-6
#[test]
fn a_file_that_switches_all_off_says_so() {
    let text = file("  <active-response><disabled>yes</disabled></active-response>\n");
    let answer = "ossec.conf: 0 errors, 0 warnings; active response is switched off\n";
    check(&text, 0, answer, "");
}

#[test]
fn the_sample_that_is_shipped_has_no_error_and_no_warning() {
    let sample = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../packaging/sample/ossec.conf"
    );
    let text = fs::read_to_string(sample).unwrap();
    check(
        &text,
        0,
        "ossec.conf: 0 errors, 0 warnings; 3 responses\n",
        "",
    );
}

/// Places count from 1, and in characters: `ä` is one.
#[test]
fn json_tells_the_same_with_both_ends_of_each_place() {
    let text = file(
        "\
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <!-- ä --><level>zehn</level>
  </active-response>
",
    );
    let output = run(&text, &["--json"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!([{
        "file": "ossec.conf",
        "line": 10,
        "column": 22,
        "end_line": 10,
        "end_column": 26,
        "severity": "error",
        "element": "level",
        "message": "expected a level from 1 to 16",
        "found": "`zehn`",
        "help": null,
        "related": [],
    }]);
    assert_eq!(found, expected);
}

#[test]
fn json_of_a_file_without_mistakes_is_an_empty_list() {
    let output = run("", &["--json"]);
    assert_eq!(
        (output.status.code(), &*output.stdout),
        (Some(0), &b"[]\n"[..])
    );
}

/// This is a failure of the command, and no mistake in a configuration.
#[test]
fn a_file_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    let output = command
        .args(["check", "nowhere.conf"])
        .current_dir(&directory)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "arfw: cannot read the configuration `nowhere.conf`: No such file or directory (os error 2)\n"
    );
}

const TWO: &str = "\
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <level>10</level>
    <timeout>600</timeout>
  </active-response>
  <active-response>
    <command>firewall-drop</command>
    <location>all</location>
    <rules_id>5712</rules_id>
  </active-response>
";

/// AR-WIRE-1
#[test]
fn the_file_for_agents_is_told_as_a_manager_writes_it() {
    let output = run(&file(TWO), &["--ar-conf"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let expected = "\
restart-ossec0 - restart-ossec.sh - 0
restart-ossec0 - restart-ossec.cmd - 0
restart-wazuh0 - restart-ossec.sh - 0
restart-wazuh0 - restart-ossec.cmd - 0
restart-wazuh0 - restart-wazuh - 0
restart-wazuh0 - restart-wazuh.exe - 0
firewall-drop600 - firewall-drop - 600
firewall-drop0 - firewall-drop - 0
";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(0));

    let output = run(&file(TWO), &["--ar-conf", "--json"]);
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let entry = |name: &str, executable: &str, seconds: u64| serde_json::json!({ "name": name, "executable": executable, "seconds": seconds });
    let expected = [
        entry("restart-ossec0", "restart-ossec.sh", 0),
        entry("restart-ossec0", "restart-ossec.cmd", 0),
        entry("restart-wazuh0", "restart-ossec.sh", 0),
        entry("restart-wazuh0", "restart-ossec.cmd", 0),
        entry("restart-wazuh0", "restart-wazuh", 0),
        entry("restart-wazuh0", "restart-wazuh.exe", 0),
        entry("firewall-drop600", "firewall-drop", 600),
        entry("firewall-drop0", "firewall-drop", 0),
    ];
    assert_eq!(found, expected);
}

/// AR-CFG-18
#[test]
fn a_file_with_mistakes_has_none_for_agents() {
    let text = file(&TWO.replace("600", "10m"));
    for options in [&["--ar-conf"][..], &["--ar-conf", "--json"]] {
        let output = run(&text, options);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        let told = String::from_utf8_lossy(&output.stderr);
        let last = "ossec.conf: 1 errors, 0 warnings; nothing of it is applied\n";
        assert!(
            told.ends_with(last) && told.contains("ossec.conf:11:14"),
            "{told}"
        );
        assert_eq!(output.status.code(), Some(3));
    }
}
