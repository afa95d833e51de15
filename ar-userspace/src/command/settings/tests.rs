//! Flags over the file over the defaults, and that the reference and the sample are those of the options.

use super::*;

fn keys_of(text: &str) -> Vec<(String, Vec<String>)> {
    let reading = read(text, &Arguments::command());
    assert_eq!(reading.diagnostics, [], "{text}");
    let given = reading.given.into_iter();
    given.map(|given| (given.name, given.values)).collect()
}

fn run_arguments(text: &str, flags: &[&str]) -> super::super::RunArguments {
    let given = read(text, &Arguments::command());
    assert_eq!(given.diagnostics, [], "{text}");
    let command = with_defaults(Arguments::command(), &[RUN], &given.given);
    let line = ["arfw", "run"].iter().chain(flags);
    match from(&command.get_matches_from(line)).command {
        super::super::Command::Run(arguments) => *arguments,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_option_of_run_is_a_setting_and_every_flag_can_be_taken_back() {
    let definition = Arguments::command();
    definition.clone().debug_assert();
    let options = options(&definition);
    assert!(options.len() > 25);
    for option in options {
        let name = name_of(option);
        assert_ne!(
            option
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default(),
            "",
            "{name}"
        );
        let is_switch = matches!(option.get_action(), ArgAction::SetTrue);
        assert!(
            !is_switch,
            "`--{name}=false` must take the file's word back"
        );
    }
}

#[test]
fn the_reference_and_the_sample_are_those_of_this_version() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for (file, made, by) in [
        ("docs/settings.md", markdown(), "arfw settings --markdown"),
        ("packaging/arfw.toml", sample(), "arfw settings"),
    ] {
        let kept = fs::read_to_string(format!("{root}/{file}")).unwrap_or_default();
        assert!(kept == made, "write `{file}` anew: `{by} > {file}`");
    }
}

#[test]
fn the_sample_with_every_line_in_force_has_no_mistake_and_says_the_defaults() {
    let in_force: String = sample()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let names: Vec<String> = keys_of(&in_force)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let definition = Arguments::command();
    let mut all: Vec<String> = options(&definition).into_iter().map(name_of).collect();
    all.sort();
    assert_eq!(names, all);
    let (set, unset) = (run_arguments(&in_force, &[]), run_arguments("", &[]));
    let without = |arguments: super::super::RunArguments| {
        let text = format!("{arguments:#?}");
        // Those that have no default.
        let is_other = |line: &&str| !line.contains("Some(") && !line.contains(": None");
        text.lines()
            .filter(is_other)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (set, unset) = (without(set), without(unset));
    assert!(
        unset.iter().all(|line| set.contains(line)),
        "{set:#?}\n{unset:#?}"
    );
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_defaults() {
    let file = "\
        kill_sockets = true\n\
        no_protect_ssh = true\n\
        on_stop = \"release\"\n\
        max_bans = 1_000\n\
        interface = [\"eth*\", \"wan\"]\n\
        protect = [\"192.0.2.0/24\"]\n\
        kernel_executables = []\n\
        forgive_after = \"30d\"\n";
    let from_file = run_arguments(file, &[]);
    assert!(from_file.kill_sockets && from_file.no_protect_ssh);
    assert_eq!(from_file.on_stop, super::super::OnStop::Release);
    assert_eq!(from_file.max_bans, 1_000);
    assert_eq!(from_file.interfaces.len(), 2);
    assert_eq!(from_file.executables.kernel(), [""; 0]);
    assert_eq!(
        from_file.forgive_after,
        Some(Duration::from_secs(30 * 86_400))
    );
    assert_eq!(from_file.widest_v4, 8);

    let flags = [
        "--kill-sockets=false",
        "--on-stop",
        "keep",
        "--max-bans=7",
        "--interface=lan",
        "--kernel-executables=a,b",
    ];
    let both = run_arguments(file, &flags);
    assert!(!both.kill_sockets && both.no_protect_ssh);
    assert_eq!(both.on_stop, super::super::OnStop::Keep);
    assert_eq!(both.max_bans, 7);
    assert_eq!(both.interfaces.len(), 1);
    assert_eq!(both.protect.len(), 1);
    assert_eq!(both.executables.kernel(), ["a", "b"]);

    assert!(run_arguments("", &["--kill-sockets"]).kill_sockets);
    assert!(!run_arguments("", &[]).kill_sockets);
}

#[test]
fn every_mistake_is_told_with_its_place_and_remedy() {
    let text = "\
kill_socket = true
max_bans = \"1000\"
max_ban = 20_000
widest_v4 = 64
on_stop = \"relaese\"
interface = \"eth0\"
protect = [\"192.0.2.300\", 7]
forgive_after = 30
debounce = \"5 parsecs\"
kill_sockets = \"yes\"

[section]
nft_table = \"a b\"
";
    let reading = read(text, &Arguments::command());
    let told = diagnostic::render(&reading.diagnostics, "arfw.toml", text, false);
    let expected = include_str!("mistakes.txt");
    assert!(told == expected, "{told}");
    assert_eq!(reading.given, []);
}

#[test]
fn broken_text_is_told_and_the_rest_is_read() {
    let text = "max_bans = = 7\nkill_sockets = true\nkill_sockets = false\ndebuonce = \"5s\"\n";
    let reading = read(text, &Arguments::command());
    let told = diagnostic::render(&reading.diagnostics, "arfw.toml", text, false);
    for expected in [
        " --> arfw.toml:1:",
        " --> arfw.toml:3:1",
        "write `debounce`",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
}
