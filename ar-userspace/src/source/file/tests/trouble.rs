//! Files and directories that come late, go away, or cannot be read for a while.

use std::os::unix::fs::symlink;

use super::*;

/// A name that nobody can open, whatever his rights are.
fn make_unreadable(path: &Path) {
    symlink(path, path).unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_directory_that_appears_later_is_read_from_its_beginning() {
    let directory = directory();
    let late = directory.path().join("logs").join("alerts");
    let mut followed = Followed::start(&late);
    assert_eq!(followed.start, Start::NotThere);
    // It has looked, so that nothing is backlog.
    tokio::task::yield_now().await;
    fs::create_dir_all(&late).unwrap();
    followed.append("one\n");
    followed.expect_marked(&["one"], Marks::default()).await;
    followed.append("two\n");
    followed.expect(&["two"]).await;
    followed.stop().await;
}

async fn noticed(watch: &Watch) {
    let noticed = watch.changed(Duration::from_secs(10)).await.unwrap();
    assert!(noticed, "no notice within ten seconds");
}

/// No look that is due by time helps here.
#[tokio::test(flavor = "current_thread")]
async fn each_step_of_a_path_that_grows_gives_notice() {
    let directory = directory();
    let late = directory.path().join("logs").join("alerts");
    let (mut watch, path) = (Watch::new().unwrap(), late.join("alerts.json"));
    watch.watch_names(&path);
    for made in [directory.path().join("logs"), late.clone()] {
        fs::create_dir(made).unwrap();
        noticed(&watch).await;
        watch.watch_names(&path);
    }
    append(&path, "");
    noticed(&watch).await;
    assert!(!watch.is_blind());
}

#[tokio::test(flavor = "current_thread")]
async fn a_directory_that_is_replaced_is_followed_in_its_place() {
    let directory = directory();
    let logs = directory.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let mut followed = Followed::start(&logs);
    followed.append("one\n");
    followed.expect(&["one"]).await;
    fs::rename(&logs, directory.path().join("old")).unwrap();
    append(&directory.path().join("old").join("alerts.json"), "two\n");
    followed.expect(&["two"]).await;
    fs::create_dir(&logs).unwrap();
    followed.append("three\n");
    followed.expect(&["three"]).await;
    followed.append("four\n");
    followed.expect(&["four"]).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_path_that_is_a_directory_is_an_error() {
    let directory = directory();
    let error = Follower::start(directory.path(), None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
}

#[tokio::test(flavor = "current_thread")]
async fn what_cannot_be_read_at_the_start_goes_on_where_it_was() {
    let directory = directory();
    let position = stopped_after_one(directory.path()).await;
    let alerts = directory.path().join("alerts.json");
    append(&alerts, "two\n");
    let aside = directory.path().join("aside");
    fs::rename(&alerts, &aside).unwrap();
    make_unreadable(&alerts);
    let (follower, start) = Follower::start(&alerts, position.as_ref()).unwrap();
    assert_eq!((follower.position(), start), (None, Start::Unreadable));
    drop(follower);

    let mut followed = Followed::start_at(directory.path(), position);
    fs::rename(&aside, &alerts).unwrap();
    let backlog = Marks {
        backlog: true,
        may_repeat: false,
    };
    followed.expect_marked(&["two"], backlog).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_that_cannot_be_read_for_a_while_ends_nothing() {
    let directory = directory();
    let mut followed = Followed::start(directory.path());
    followed.append("one\n");
    followed.expect(&["one"]).await;
    followed.append("two\n");
    followed.rename_to("alerts.json.1");
    make_unreadable(&followed.path);
    followed.expect(&["two"]).await;
    // The daemon looks, fails, and goes on looking.
    tokio::task::yield_now().await;
    append(&directory.path().join("alerts.json.1"), "three\n");
    fs::remove_file(&followed.path).unwrap();
    followed.append("four\n");
    followed.expect(&["three", "four"]).await;
    followed.append("five\n");
    followed.expect(&["five"]).await;
    assert!(!followed.marks.backlog);
    followed.stop().await;
}

/// As on a file system that is mounted late; a file that was rotated meanwhile comes along.
#[tokio::test(flavor = "current_thread")]
async fn a_file_that_is_not_there_at_the_start_goes_on_where_it_was() {
    let directory = directory();
    let logs = directory.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let position = stopped_after_one(&logs).await;
    append(&logs.join("alerts.json"), "two\n");
    fs::rename(logs.join("alerts.json"), logs.join("alerts.json.1")).unwrap();
    append(&logs.join("alerts.json"), "three\n");
    let aside = directory.path().join("aside");
    fs::rename(&logs, &aside).unwrap();
    for directory_is_there in [false, true] {
        if directory_is_there {
            fs::create_dir(&logs).unwrap();
        }
        let path = logs.join("alerts.json");
        let (follower, start) = Follower::start(&path, position.as_ref()).unwrap();
        assert_eq!((follower.position(), start), (None, Start::NotThere));
        let (missing, trouble) = (true, None);
        let condition = Condition {
            missing,
            trouble,
            compressed: 0,
        };
        assert_eq!(*follower.condition().borrow(), condition);
    }

    let mut followed = Followed::start_at(&logs, position);
    // It looks, and finds nothing.
    tokio::task::yield_now().await;
    fs::remove_dir(&logs).unwrap();
    fs::rename(&aside, &logs).unwrap();
    let backlog = Marks {
        backlog: true,
        may_repeat: true,
    };
    followed.expect(&["two"]).await;
    followed.expect_marked(&["three"], backlog).await;
    assert!(!followed.condition.borrow().missing);
    followed.append("four\n");
    followed.expect(&["four"]).await;
    followed.stop().await;
}
