//! The log in the journal's fields, at a real socket in the place of systemd's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, ChildStderr};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tests::support::alert;
use tests::support::daemon::{Home, PATIENCE};

use super::CONF;

type Record = BTreeMap<String, String>;

/// A daemon whose standard error is a stream to the journal, and which sees our directory in the place of the journal's.
struct Scene {
    home: Home,
    daemon: Child,
    stderr: BufReader<ChildStderr>,
}

impl Scene {
    fn start(home: Home, arguments: &str) -> Result<Self> {
        fs::create_dir_all(directory(&home))?;
        let script = format!(
            "mount -t tmpfs tmpfs /run && mkdir /run/systemd && ln -s {} /run/systemd/journal && \
             JOURNAL_STREAM=$(stat --dereference --format=%d:%i /proc/self/fd/2) && export JOURNAL_STREAM && \
             exec \"$@\" {arguments}",
            directory(&home).display()
        );
        let mut daemon = home.spawn_dry_by(&["unshare", "--mount", "sh", "-c", &script, "sh"])?;
        let stderr = daemon.stderr.take().context("standard error")?;
        Ok(Self {
            home,
            daemon,
            stderr: BufReader::new(stderr),
        })
    }

    /// Stops the daemon; what it wrote to standard error, and was not read yet.
    fn stop(mut self) -> Result<String> {
        kill_process(Pid::from_child(&self.daemon), Signal::TERM)?;
        let said = std::io::read_to_string(&mut self.stderr)?;
        let status = self.daemon.wait()?;
        ensure!(status.success(), "{status}: {said}");
        Ok(said)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn directory(home: &Home) -> PathBuf {
    home.dir().join("journal")
}

/// The journal's end.
struct Journal(UnixDatagram);

impl Journal {
    fn listen(home: &Home) -> Result<Self> {
        fs::create_dir_all(directory(home))?;
        let socket = UnixDatagram::bind(directory(home).join("socket"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    fn hear(&self) -> Result<Record> {
        let mut buffer = vec![0; 256 * 1024];
        let length = self.0.recv(&mut buffer).context("no record")?;
        read(&buffer[..length])
    }

    /// The next record whose text begins so.
    fn wait_for(&self, begins: &str) -> Result<Record> {
        loop {
            let record = self.hear()?;
            if record["MESSAGE"].starts_with(begins) {
                return Ok(record);
            }
        }
    }
}

/// Reads a datagram as the journal does: `NAME=value`, or a name, a length and so many bytes.
fn read(mut bytes: &[u8]) -> Result<Record> {
    let mut record = Record::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let (line, rest) = bytes.split_at(end.context("the end of a field")?);
        let (name, value) = match line.iter().position(|&byte| byte == b'=') {
            Some(middle) => {
                bytes = &rest[1..];
                (&line[..middle], &line[middle + 1..])
            }
            None => {
                let (length, rest) = rest[1..].split_at(8);
                let length = usize::try_from(u64::from_le_bytes(length.try_into()?))?;
                let (value, rest) = rest.split_at(length);
                ensure!(rest[0] == b'\n', "a value without its end");
                bytes = &rest[1..];
                (line, value)
            }
        };
        let (name, value) = (str::from_utf8(name)?, str::from_utf8(value)?);
        let is_fit = |byte: char| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == '_';
        ensure!(name.chars().all(is_fit) && !name.starts_with('_'), "{name}");
        let twice = record.insert(name.to_owned(), value.to_owned());
        ensure!(twice.is_none(), "{name} twice");
    }
    Ok(record)
}

fn check(record: &Record, expected: &[(&str, &str)]) -> Result<()> {
    let expected: Record = expected
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    ensure!(*record == expected, "{record:#?}");
    Ok(())
}

#[test]
fn what_happens_is_in_the_journal_by_its_fields() -> Result<()> {
    let home = Home::new(CONF)?;
    let journal = Journal::listen(&home)?;
    let scene = Scene::start(home, "")?;
    let ready = journal.wait_for("ready")?;
    ensure!(ready["ARFW_ENFORCER"] == "dry-run", "{ready:#?}");

    let home = &scene.home;
    home.append(&alert::wazuh(5763, 10, &["sshd"], "198.51.100.7"))?;
    let ban = journal.wait_for("ban ")?;
    let alert = &ban["ARFW_ALERT"];
    let text = format!(
        "ban address=198.51.100.7 length=\"10m\" rule=5763 offence=1 by=\"firewall-drop\" section=\"ossec.conf:12\" alert={alert:?}"
    );
    check(
        &ban,
        &[
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "arfw"),
            ("MESSAGE", &text),
            ("ARFW_ADDRESS", "198.51.100.7"),
            ("ARFW_LENGTH", "10m"),
            ("ARFW_RULE", "5763"),
            ("ARFW_OFFENCE", "1"),
            ("ARFW_BY", "firewall-drop"),
            ("ARFW_SECTION", "ossec.conf:12"),
            ("ARFW_ALERT", alert),
        ],
    )?;

    // Whoever may say why cannot say who.
    let reason = "a \"scan\"\nARFW_ADDRESS=192.0.2.1\nPRIORITY=0";
    let order = ["ban", "2001:db8::7", "--permanent", "--reason", reason];
    ensure!(home.output(&order)?.status.success());
    let by_hand = journal.wait_for("banned by hand")?;
    ensure!(by_hand["ARFW_REASON"] == reason, "{by_hand:#?}");
    ensure!(by_hand["ARFW_ADDRESS"] == "2001:db8::7" && by_hand["ARFW_UID"] == "0");
    ensure!(by_hand["PRIORITY"] == "6", "{by_hand:#?}");

    let refused = home.output(&["ban", "127.0.0.1", "--permanent"])?;
    ensure!(!refused.status.success());
    let refused = journal.wait_for("not banned")?;
    ensure!(refused["PRIORITY"] == "4", "{refused:#?}");
    let said = scene.stop()?;
    // What is said about the configuration comes before the log.
    ensure!(
        !said.contains("ready") && !said.contains("ban address"),
        "{said}"
    );
    journal.wait_for("stopping on SIGTERM")?;
    Ok(())
}

/// More bans than records may wait.
#[test]
fn a_journal_that_takes_nothing_stalls_nobody_and_loss_is_told() -> Result<()> {
    const OFFENDERS: u32 = 140_000;
    let home = Home::new(CONF)?;
    let journal = Journal::listen(&home)?;
    let scene = Scene::start(home, "--max-bans 200000")?;
    journal.wait_for("ready")?;

    let (home, mut alerts) = (&scene.home, String::new());
    for number in 0..OFFENDERS {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(45, 0, 0, 0)) + number);
        let alert = alert::wazuh(5763, 10, &["sshd"], &address.to_string());
        write!(alerts, "{alert}")?;
    }
    home.append(&alerts)?;
    let banned = OFFENDERS as usize;
    let begun = std::time::Instant::now();
    while home.status()?.active.v4 < banned {
        ensure!(begun.elapsed() < 3 * PATIENCE, "{:?}", home.status());
    }

    let (mut heard, mut lost) = (0, None);
    while lost.is_none() {
        let record = journal.hear()?;
        heard += usize::from(record["MESSAGE"].starts_with("ban "));
        lost = record.get("ARFW_LOST").cloned();
    }
    let lost: usize = lost.context("a loss")?.parse()?;
    while heard + lost < banned {
        heard += usize::from(journal.hear()?["MESSAGE"].starts_with("ban "));
    }
    ensure!(heard + lost == banned, "{heard} and {lost}");
    drop(journal);
    scene.stop()?;
    Ok(())
}

#[test]
fn a_journal_that_is_away_is_stood_in_for_by_standard_error_until_it_is_back() -> Result<()> {
    let mut scene = Scene::start(Home::new(CONF)?, "")?;
    let mut line = String::new();
    while !line.starts_with("<6>ready ") {
        line.clear();
        ensure!(scene.stderr.read_line(&mut line)? > 0, "not ready");
    }
    for (rule, address) in [(5763, "198.51.100.7"), (5763, "198.51.100.8")] {
        let journal = Journal::listen(&scene.home)?;
        scene
            .home
            .append(&alert::wazuh(rule, 10, &["sshd"], address))?;
        let ban = journal.wait_for("ban ")?;
        ensure!(ban["ARFW_ADDRESS"] == address, "{ban:#?}");
        drop(journal);
        fs::remove_file(directory(&scene.home).join("socket"))?;
    }
    let said = scene.stop()?;
    ensure!(said.starts_with("<6>stopping on SIGTERM\n"), "{said}");
    Ok(())
}

/// A stream that is not the daemon's standard error any more, as under a shell that sends it elsewhere.
#[test]
fn a_daemon_whose_standard_error_goes_elsewhere_writes_there() -> Result<()> {
    let home = Home::new(CONF)?;
    let mut daemon = home.start_dry_by(&["env", "JOURNAL_STREAM=8:1"])?;
    daemon.stop(Signal::TERM)?;
    Ok(())
}
