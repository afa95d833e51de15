//! Real files, written, renamed, truncated and linked while they are followed and while nobody looks.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use super::*;
use crate::source::{FINGERPRINT, QUEUE};

mod repeats;
mod rotations;
mod trouble;

struct Followed {
    path: PathBuf,
    batches: mpsc::Receiver<Batch>,
    task: tokio::task::JoinHandle<io::Result<()>>,
    position: Option<Position>,
    start: Start,
    marks: Marks,
    condition: state::Receiver<Condition>,
}

/// What the last batch says about its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    backlog: bool,
    may_repeat: bool,
}

impl Followed {
    fn start(directory: &Path) -> Self {
        Self::start_at(directory, None)
    }

    fn start_at(directory: &Path, position: Option<Position>) -> Self {
        let path = directory.join("alerts.json");
        let (sender, batches) = mpsc::channel(QUEUE);
        let (follower, start) = Follower::start(&path, position.as_ref()).unwrap();
        Self {
            path,
            batches,
            condition: follower.condition(),
            task: tokio::spawn(follower.follow(sender)),
            position,
            start,
            marks: Marks::default(),
        }
    }

    fn append(&self, text: &str) {
        append(&self.path, text);
    }

    fn rename_to(&self, name: &str) {
        fs::rename(&self.path, self.path.with_file_name(name)).unwrap();
    }

    async fn expect(&mut self, lines: &[&str]) {
        let mut seen = Vec::new();
        while seen.len() < lines.len() {
            let batch = tokio::time::timeout(Duration::from_secs(10), self.batches.recv())
                .await
                .expect("a batch within ten seconds")
                .expect("the follower still runs");
            let line = |line: &[u8]| String::from_utf8(line.to_vec()).unwrap();
            seen.extend(batch.cut.lines().map(line));
            self.marks = Marks {
                backlog: batch.backlog,
                may_repeat: batch.may_repeat,
            };
            self.position = Some(batch.position);
        }
        assert_eq!(seen, lines);
    }

    /// The same, of lines that are in the backlog, or may be repeated, or both.
    async fn expect_marked(&mut self, lines: &[&str], marks: Marks) {
        self.expect(lines).await;
        assert_eq!(self.marks, marks, "{lines:?}");
    }

    /// Ends the follower in the midst of what it does, and gives the position of what was seen.
    fn crash(self) -> Option<Position> {
        self.task.abort();
        self.position
    }

    /// Ends the follower, makes sure that there was nothing more, and gives the position.
    async fn stop(mut self) -> Option<Position> {
        self.batches.close();
        let more = self.batches.recv().await;
        assert!(more.is_none(), "a line that nobody expects: {more:?}");
        self.task.await.unwrap().unwrap();
        self.position
    }
}

fn append(path: &Path, text: &str) {
    let mut options = File::options();
    let mut file = options.append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Reads one line of a fresh file and stops: what a daemon leaves that ended in order.
async fn stopped_after_one(directory: &Path) -> Option<Position> {
    let one = "one ".repeat(FINGERPRINT / 4);
    let mut followed = Followed::start(directory);
    assert_eq!(followed.start, Start::NotThere);
    followed.append(&format!("{one}\n"));
    followed.expect(&[&one]).await;
    followed.stop().await
}

#[tokio::test(flavor = "current_thread")]
async fn only_what_is_appended_is_read() {
    let directory = directory();
    append(&directory.path().join("alerts.json"), "old\n");
    let mut followed = Followed::start(directory.path());
    assert_eq!(followed.start, Start::AtEnd);
    followed.append("one\ntwo\nthr");
    followed.expect(&["one", "two"]).await;
    followed.append("ee\n");
    followed.expect(&["three"]).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_line_that_is_being_written_at_the_start_is_new() {
    let directory = directory();
    append(&directory.path().join("alerts.json"), "old\nbegun");
    let mut followed = Followed::start(directory.path());
    followed.append(" and ended\n");
    followed.expect(&["begun and ended"]).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_that_appears_later_is_read_from_its_beginning() {
    let directory = directory();
    let mut followed = Followed::start(directory.path());
    assert_eq!(followed.start, Start::NotThere);
    followed.append("first\n");
    followed.expect(&["first"]).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_renamed_file_is_drained_before_its_successor() {
    let directory = directory();
    let mut followed = Followed::start(directory.path());
    followed.append("one\n");
    followed.expect(&["one"]).await;
    followed.append("two\nunfinished");
    followed.rename_to("alerts.json.1");
    followed.append("three\n");
    followed.expect(&["two", "unfinished", "three"]).await;
    followed.append("four\n");
    followed.expect(&["four"]).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_truncated_file_is_read_from_its_beginning() {
    let directory = directory();
    let mut followed = Followed::start(directory.path());
    followed.append("a line that is longer than the next\n");
    followed
        .expect(&["a line that is longer than the next"])
        .await;
    File::create(&followed.path).unwrap();
    followed.append("short\n");
    followed.expect(&["short"]).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_truncated_file_that_has_grown_beyond_is_read_from_its_beginning() {
    let directory = directory();
    let mut followed = Followed::start(directory.path());
    followed.append("one\n");
    followed.expect(&["one"]).await;
    fs::write(&followed.path, "two\nthree\n").unwrap();
    followed.expect(&["two", "three"]).await;
    followed.stop().await;
}

/// Wazuh writes a dated file and makes `alerts.json` a hard link of it, anew each day.
#[tokio::test(flavor = "current_thread")]
async fn a_hard_link_that_another_directory_writes_is_followed() {
    let directory = directory();
    let [day_1, day_2] = days(directory.path());
    append(&day_1, "");
    fs::hard_link(&day_1, directory.path().join("alerts.json")).unwrap();
    let mut followed = Followed::start(directory.path());
    append(&day_1, "one\n");
    followed.expect(&["one"]).await;
    append(&day_1, "two\n");
    fs::remove_file(&followed.path).unwrap();
    append(&day_2, "three\n");
    fs::hard_link(&day_2, &followed.path).unwrap();
    followed.expect(&["two", "three"]).await;
    append(&day_2, "four\n");
    followed.expect(&["four"]).await;
    followed.stop().await;
}

fn days(directory: &Path) -> [PathBuf; 2] {
    let month = directory.join("2026").join("Nov");
    fs::create_dir_all(&month).unwrap();
    ["ossec-alerts-23.json", "ossec-alerts-24.json"].map(|name| month.join(name))
}

#[tokio::test(flavor = "current_thread")]
async fn a_restart_goes_on_at_the_same_line() {
    let directory = directory();
    let position = stopped_after_one(directory.path()).await;
    append(&directory.path().join("alerts.json"), "two\nthr");
    let mut followed = Followed::start_at(directory.path(), position);
    assert_eq!(followed.start, Start::AtPosition);
    followed.expect(&["two"]).await;
    let position = followed.stop().await;
    append(&directory.path().join("alerts.json"), "ee\n");
    let mut followed = Followed::start_at(directory.path(), position);
    followed.expect(&["three"]).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn rotations_while_nobody_looked_are_made_up_for() {
    let directory = directory();
    let position = stopped_after_one(directory.path()).await;
    let alerts = directory.path().join("alerts.json");
    append(&alerts, "two\n");
    fs::rename(&alerts, directory.path().join("alerts.json.2")).unwrap();
    append(&directory.path().join("alerts.json.1"), "three\n");
    append(&alerts, "four\n");
    let mut followed = Followed::start_at(directory.path(), position);
    assert_eq!(followed.start, Start::AtPosition);
    followed.expect(&["two", "three", "four"]).await;
    followed.append("five\n");
    followed.expect(&["five"]).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn day_files_while_nobody_looked_are_made_up_for() {
    let directory = directory();
    let [day_1, day_2] = days(directory.path());
    let alerts = directory.path().join("alerts.json");
    append(&day_1, "zero\n");
    fs::hard_link(&day_1, &alerts).unwrap();
    let mut followed = Followed::start(directory.path());
    append(&day_1, "one\n");
    followed.expect(&["one"]).await;
    let position = followed.stop().await;
    append(&day_1, "two\n");
    append(&day_2, "three\n");
    fs::remove_file(&alerts).unwrap();
    fs::hard_link(&day_2, &alerts).unwrap();
    let mut followed = Followed::start_at(directory.path(), position);
    assert_eq!(followed.start, Start::AtPosition);
    followed.expect(&["two", "three"]).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_that_was_copied_and_truncated_while_nobody_looked_is_made_up_for() {
    let directory = directory();
    let position = stopped_after_one(directory.path()).await;
    let alerts = directory.path().join("alerts.json");
    append(&alerts, "two\n");
    fs::copy(&alerts, directory.path().join("alerts.json.1")).unwrap();
    fs::write(&alerts, "three\n").unwrap();
    let mut followed = Followed::start_at(directory.path(), position);
    assert_eq!(followed.start, Start::AtPosition);
    followed.expect(&["two", "three"]).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_position_whose_file_is_gone_leads_to_the_beginning() {
    let directory = directory();
    let position = stopped_after_one(directory.path()).await;
    let alerts = directory.path().join("alerts.json");
    fs::remove_file(&alerts).unwrap();
    append(&alerts, "something else\n");
    let mut followed = Followed::start_at(directory.path(), position);
    assert_eq!(followed.start, Start::PositionLost);
    followed.expect(&["something else"]).await;
    followed.stop().await;
}

/// Alerts of one kind end alike: what stands before the position must not be taken for what stands there
/// in another file.
#[tokio::test(flavor = "current_thread")]
async fn files_that_are_alike_are_told_apart() {
    let directory = directory();
    let alerts = directory.path().join("alerts.json");
    let same = format!("{}\n", "the same ".repeat(FINGERPRINT / 4));
    append(&directory.path().join("alerts.json.2"), &same.repeat(3));
    let mut followed = Followed::start(directory.path());
    followed.append(&same);
    followed.expect(&[same.trim_end_matches('\n')]).await;
    let position = followed.stop().await;
    append(&alerts, "two\n");
    fs::rename(&alerts, directory.path().join("alerts.json.1")).unwrap();
    append(&alerts, &same.repeat(2));
    let mut followed = Followed::start_at(directory.path(), position);
    let same = same.trim_end_matches('\n');
    followed.expect(&["two", same, same]).await;
    followed.stop().await;
}
