//! Which lines are said to be in the backlog, and which may have been read before (AR-IMP-8).

use super::*;

const BACKLOG: Marks = Marks {
    backlog: true,
    may_repeat: false,
};
const MAY_REPEAT: Marks = Marks {
    backlog: false,
    may_repeat: true,
};
const BOTH: Marks = Marks {
    backlog: true,
    may_repeat: true,
};

#[tokio::test(flavor = "current_thread")]
async fn what_was_written_while_nobody_read_is_backlog() {
    let directory = directory();
    let position = stopped_after_one(directory.path()).await;
    append(&directory.path().join("alerts.json"), "two\n");
    let mut followed = Followed::start_at(directory.path(), position);
    followed.expect_marked(&["two"], BACKLOG).await;
    tokio::task::yield_now().await;
    followed.append("three\n");
    followed.expect_marked(&["three"], Marks::default()).await;
    followed.stop().await;
}

/// Also before it has looked for the first time.
#[tokio::test(flavor = "current_thread")]
async fn what_comes_behind_the_end_of_a_first_start_is_no_backlog() {
    for is_there in [false, true] {
        let directory = directory();
        if is_there {
            append(&directory.path().join("alerts.json"), "old\n");
        }
        let mut followed = Followed::start(directory.path());
        followed.append("one\n");
        followed.expect_marked(&["one"], Marks::default()).await;
        followed.stop().await;
    }
}

/// A file that was lost may have come back in another shape.
#[tokio::test(flavor = "current_thread")]
async fn a_file_that_is_read_from_its_beginning_may_repeat_and_a_crash_on_the_way_changes_nothing()
{
    let directory = directory();
    let position = stopped_after_one(directory.path()).await;
    let alerts = directory.path().join("alerts.json");
    fs::write(&alerts, "a\n").unwrap();
    let mut followed = Followed::start_at(directory.path(), position);
    assert_eq!(followed.start, Start::PositionLost);
    followed.expect_marked(&["a"], BOTH).await;
    let position = followed.stop().await;
    append(&alerts, "b\n");
    let mut followed = Followed::start_at(directory.path(), position);
    assert_eq!(followed.start, Start::AtPosition);
    followed.expect_marked(&["b"], BOTH).await;
    tokio::task::yield_now().await;
    // As many bytes as were read of the old file: what comes behind them is new.
    let rest = "c".repeat(FINGERPRINT);
    followed.append(&format!("{rest}\n"));
    followed.expect_marked(&[&rest], MAY_REPEAT).await;
    followed.append("d\n");
    followed.expect_marked(&["d"], Marks::default()).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_that_is_written_anew_may_repeat() {
    let directory = directory();
    let mut followed = Followed::start(directory.path());
    followed.append("one\ntwo\n");
    followed.expect(&["one", "two"]).await;
    assert!(!followed.marks.may_repeat);
    fs::write(&followed.path, "two\n").unwrap();
    followed.expect_marked(&["two"], MAY_REPEAT).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_that_takes_the_place_of_another_may_repeat() {
    let directory = directory();
    let mut followed = Followed::start(directory.path());
    followed.append("one\ntwo\n");
    followed.expect(&["one", "two"]).await;
    let new = directory.path().join("new");
    append(&new, "two\nthree\n");
    fs::rename(&new, &followed.path).unwrap();
    followed.expect_marked(&["two", "three"], MAY_REPEAT).await;
    followed.append("four\n");
    followed.expect_marked(&["four"], Marks::default()).await;
    followed.stop().await;
}

/// Written, copied and truncated before the follower could look.
#[tokio::test(flavor = "current_thread")]
async fn what_was_not_read_before_a_truncation_is_read_from_the_copy() {
    let directory = directory();
    let mut followed = Followed::start(directory.path());
    followed.append("one\nbeg");
    followed.expect(&["one"]).await;
    tokio::task::yield_now().await;
    followed.append("un\ntwo\n");
    fs::copy(&followed.path, directory.path().join("alerts.json.1")).unwrap();
    fs::write(&followed.path, "three\n").unwrap();
    followed.expect(&["begun", "two", "three"]).await;
    followed.append("four\n");
    followed.expect(&["four"]).await;
    followed.stop().await;
}
