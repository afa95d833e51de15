//! Requests that the control socket does not carry out are answered with a problem document (RFC 9457).

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::support::daemon::Home;
use xtask::netns::Link;

use super::{CONF, Scene, V4, refused_and_nothing_left};

/// Sends bytes, and gives the answer's status, its media type and its body.
pub(super) fn ask(home: &Home, request: &str) -> Result<(u16, String, Vec<u8>)> {
    let mut stream = UnixStream::connect(home.run_dir().join("arfw.sock"))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let status = line.split(' ').nth(1).context("no status")?.parse()?;
    let (mut media_type, mut length) = (String::new(), 0);
    loop {
        line.clear();
        answer.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        match name {
            "content-type" => media_type = value.to_owned(),
            "content-length" => length = value.parse()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body)?;
    Ok((status, media_type, body))
}

pub(super) fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: arfw\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The document's words, whole, are as expected.
fn check(scene: &Scene, request: &str, expected: (u16, &str, &str)) -> Result<()> {
    let (status, title, detail) = expected;
    let (found, media_type, body) = ask(&scene.home, request)?;
    let head = request.lines().next().unwrap_or_default();
    let document: Value = serde_json::from_slice(&body).with_context(|| head.to_owned())?;
    ensure!(
        (found, media_type.as_str()) == (status, "application/problem+json"),
        "{head}: {found} {media_type} {document}"
    );
    let wanted = json!({"type": "about:blank", "title": title, "status": status, "detail": detail});
    ensure!(document == wanted, "{head}: {document}");
    Ok(())
}

#[test]
fn bad_requests_are_answered_with_a_problem_and_change_nothing() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5712, V4, " ban ")?;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: arfw\r\n\r\n");
    check(
        &scene,
        &get("/v2/bans"),
        (404, "Not Found", "there is nothing at this path"),
    )?;
    check(
        &scene,
        &get("/v1/history?limit=0"),
        (
            422,
            "Unprocessable Entity",
            "expected a `limit` from 1 to 100000, found 0",
        ),
    )?;
    check(
        &scene,
        &get("/v1/history?address=host"),
        (
            422,
            "Unprocessable Entity",
            "expected an address, or a network such as `192.0.2.0/24` or `2001:db8::/32`; found `host`",
        ),
    )?;
    let (status, _, body) = ask(
        &scene.home,
        &get("/v1/history?address=198.51.100.0%2F24&limit=5"),
    )?;
    let told: Value = serde_json::from_slice(&body)?;
    ensure!(
        status == 200 && told["bans"][0]["address"] == V4 && told["forgotten"] == 0,
        "{told}"
    );
    let other_way = "this path is asked in another way; see the header `Allow`";
    for request in [get("/v1/reload"), post("/v1/bans", "{}")] {
        check(&scene, &request, (405, "Method Not Allowed", other_way))?;
    }
    check(
        &scene,
        &post(
            "/v1/unban",
            "{\"addresses\":[\"198.51.100.7\",\"198.51.100\"]}",
        ),
        (
            422,
            "Unprocessable Entity",
            "expected an address, or a network such as `192.0.2.0/24` or `2001:db8::/32`; found `198.51.100`",
        ),
    )?;
    for (how, expected) in [
        ("", "expected either `seconds` or `permanent`"),
        (
            ",\"seconds\":1,\"permanent\":true",
            "expected either `seconds` or `permanent`",
        ),
        (",\"seconds\":-1", "expected `seconds` above 0"),
        (
            ",\"permanent\":true,\"confirm_seconds\":0.5",
            "expected `confirm_seconds` from 1 to 3600, found 0.5",
        ),
        (
            ",\"seconds\":1,\"confirm_seconds\":2",
            "expected a ban at least as long as the time to confirm it, 2s; found 1s, which is over before",
        ),
    ] {
        let body = format!("{{\"addresses\":[\"198.51.100.7\"]{how}}}");
        let refused = (422, "Unprocessable Entity", expected);
        check(&scene, &post("/v1/ban", &body), refused)?;
    }
    for (how, expected) in [
        (
            "\"quiet_seconds\":-1",
            "expected `quiet_seconds` from 0 to 2592000, found -1.0",
        ),
        (
            "\"quiet_seconds\":2592001",
            "expected `quiet_seconds` from 0 to 2592000, found 2592001.0",
        ),
        (
            "\"quiet_seconds\":1,\"confirm_seconds\":60",
            "expected `confirm_seconds` or `quiet_seconds`, found both: a quiet time is not taken back",
        ),
        (
            "\"reason\":\"why\"",
            "expected `reason` with `quiet_seconds` only",
        ),
    ] {
        let body = format!("{{\"addresses\":[\"198.51.100.7\"],{how}}}");
        let refused = (422, "Unprocessable Entity", expected);
        check(&scene, &post("/v1/unban", &body), refused)?;
    }
    let reason = "x".repeat(257);
    let body =
        format!("{{\"addresses\":[\"198.51.100.7\"],\"quiet_seconds\":1,\"reason\":\"{reason}\"}}");
    let too_long = "expected a `reason` of at most 256 bytes";
    check(
        &scene,
        &post("/v1/unban", &body),
        (422, "Unprocessable Entity", too_long),
    )?;
    for path in ["/v1/unban", "/v1/forgive", "/v1/confirm"] {
        check(
            &scene,
            &post(path, "{\"addresses\":[]}"),
            (422, "Unprocessable Entity", "expected at least one address"),
        )?;
    }
    check(
        &scene,
        &post("/v1/unban", "{\"addresses\""),
        (
            400,
            "Bad Request",
            "Failed to parse the request body as JSON: EOF while parsing an object at line 1 column 12",
        ),
    )?;
    check(
        &scene,
        &post(
            "/v1/unban",
            "{\"addresses\":[\"198.51.100.7\"],\"confirm_seconds\":3601}",
        ),
        (
            422,
            "Unprocessable Entity",
            "expected `confirm_seconds` from 1 to 3600, found 3601",
        ),
    )?;
    let padded = |length| {
        post(
            "/v1/unban",
            &format!("{{\"addresses\":[\"{}\"]}}", "1".repeat(length)),
        )
    };
    check(
        &scene,
        &padded(64 * 1024),
        (
            413,
            "Payload Too Large",
            "Failed to buffer the request body: length limit exceeded",
        ),
    )?;
    let untyped =
        post("/v1/stop", "{\"release\":true}").replace("Content-Type: application/json\r\n", "");
    check(
        &scene,
        &untyped,
        (
            415,
            "Unsupported Media Type",
            "Expected request with `Content-Type: application/json`",
        ),
    )?;
    ensure!(scene.banned()? == [V4], "{:?}", scene.banned());
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// Connections that are open and say nothing have a number and a time; within these, others are served.
#[test]
fn silent_connections_do_not_keep_others_waiting() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let socket = scene.home.run_dir().join("arfw.sock");
    let silent: Vec<UnixStream> = (0..15)
        .map(|_| UnixStream::connect(&socket))
        .collect::<Result<_, _>>()?;
    ensure!(scene.banned()?.is_empty());
    scene.daemon.stop(Signal::TERM)?;
    drop(silent);
    Ok(())
}

#[test]
fn a_start_without_its_control_socket_leaves_nothing() -> Result<()> {
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    fs::create_dir_all(home.run_dir().join("arfw.sock"))?;
    refused_and_nothing_left(&home, home.start(&link, &[]), "cannot replace")
}

/// No socket has a name so long.
#[test]
fn a_start_that_cannot_reach_its_service_manager_leaves_nothing() -> Result<()> {
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    let manager = format!("NOTIFY_SOCKET=/{}", "long".repeat(50));
    let started = home.start_by(&link, &["env".as_ref(), manager.as_ref()], &[]);
    refused_and_nothing_left(&home, started, "cannot reach the service manager")
}
