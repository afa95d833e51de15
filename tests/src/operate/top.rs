//! `arfw top` on a real terminal, and without one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use tests::support::daemon::PATIENCE;

use super::{CONF, Scene, V4, V6};

/// `arfw top` on a terminal of its own, which `script` makes.
struct Screen {
    script: Child,
    keys: ChildStdin,
    pieces: Receiver<Vec<u8>>,
    terminal: vt100::Parser,
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Its terminal hangs up, which ends `arfw top`.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

impl Screen {
    /// Types keys, and waits until the screen shows `text`.
    fn press(&mut self, keys: &str, text: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        self.keys.flush()?;
        self.wait_for(text)
    }

    fn wait_for(&mut self, text: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let shown = self.terminal.screen().contents();
            if shown.contains(text) {
                return Ok(());
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let piece = self.pieces.recv_timeout(left);
            let piece = piece.with_context(|| format!("no {text:?} on the screen:\n{shown}"))?;
            self.terminal.process(&piece);
        }
    }
}

#[test]
fn an_operator_unbans_from_the_screen() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5763, V4, " ban ")?;
    scene.alert(5763, V6, " ban ")?;
    let top = scene.home.command(&["top", "--interval", "100ms"]);
    let words = [top.get_program()].into_iter().chain(top.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.display())).collect();
    let mut script = Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--flush",
            "--echo",
            "never",
            "--command",
        ])
        .arg(format!("stty cols 80 rows 24; exec {}", words.join(" ")))
        .arg("/dev/null")
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run `script`")?;
    let mut out = script.stdout.take().context("no output")?;
    let (tell, pieces) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = out.read(&mut buffer) {
            if tell
                .send(buffer.get(..read).unwrap_or_default().to_vec())
                .is_err()
            {
                return;
            }
        }
    });
    let keys = script.stdin.take().context("no input")?;
    let mut screen = Screen {
        script,
        keys,
        pieces,
        terminal: vt100::Parser::default(),
    };
    screen.wait_for(V6)?;
    screen.wait_for(" begin: arfw ")?;
    screen.press("/0.7", "filter: 0.7_")?;
    screen.press("\ru", "End all bans of 198.51.100.7 now?")?;
    screen.press("n", "198.51.100.7 stays banned")?;
    ensure!(scene.banned()? == [V4, V6], "{:?}", scene.banned()?);
    screen.press("/\x7f\x7f\x7f2001\ru", "End all bans of 2001:db8::7 now?")?;
    screen.press("y", "2001:db8::7: firewall-drop ended")?;
    screen.wait_for(" unban 2001:db8::7 by firewall-drop: by hand")?;
    ensure!(scene.banned()? == [V4], "{:?}", scene.banned()?);
    // Escape and a letter right behind it would be one key.
    screen.press("/\x7f\x7f\x7f\x7f\r", "1 banned, by drops a second")?;
    ensure!(screen.terminal.screen().alternate_screen());
    screen.keys.write_all(b"q")?;
    let begun = Instant::now();
    while let Ok(piece) = screen
        .pieces
        .recv_timeout(PATIENCE.saturating_sub(begun.elapsed()))
    {
        screen.terminal.process(&piece);
    }
    // The terminal is put back as it was.
    ensure!(!screen.terminal.screen().alternate_screen());
    let status = screen.script.wait()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[test]
fn without_a_terminal_it_says_what_to_do() -> Result<()> {
    let scene = Scene::new(CONF, &[])?;
    scene.check(
        &["top"],
        (
            1,
            "",
            "arfw: `arfw top` needs a terminal; `arfw top --json` prints a line a look, `arfw list` and `arfw status` one look\n",
        ),
    )
}

#[test]
fn as_json_it_tells_a_line_a_look_until_the_daemon_goes() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5763, V4, " ban ")?;
    let mut top = scene
        .home
        .command(&["top", "--json", "--interval", "100ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(top.stdout.take().context("no output")?).lines();
    for look in 0..3 {
        let line = lines.next().context("no line")??;
        let told: serde_json::Value = serde_json::from_str(&line)?;
        ensure!(
            told.pointer("/hosts/0/address") == Some(&V4.into()),
            "{line}"
        );
        let rate = told.get("packets_per_second").context("no rate")?;
        ensure!(rate.is_null() == (look == 0), "{line}");
    }
    scene.home.output(&["stop"])?;
    // What was told before the stop may still be there.
    for line in lines {
        line?;
    }
    let output = top.wait_with_output()?;
    if output.status.code() != Some(4) {
        bail!("{output:?}");
    }
    Ok(())
}
