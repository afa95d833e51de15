//! Who may touch the outside world: clocks, files, the kernel's maps, unsafe memory.

use super::Finding;
use super::code::{Code, line_of, words};
use super::paths::Path;

/// The one module that reads clocks.
const CLOCK: &str = "clock";

/// Ends of paths that read one.
const CLOCK_READERS: [&[&str]; 9] = [
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["Utc", "now"],
    &["Local", "now"],
    &["OffsetDateTime", "now_utc"],
    &["clock_gettime"],
    &["clock_gettime_dynamic"],
    &["gettimeofday"],
    &["UNIX_EPOCH", "elapsed"],
];

/// Beginnings of paths that lead out of the core.
const IMPURE: [&[&str]; 26] = [
    &["std", "cell", "OnceCell"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "io"],
    &["std", "net", "TcpListener"],
    &["std", "net", "TcpStream"],
    &["std", "net", "ToSocketAddrs"],
    &["std", "net", "UdpSocket"],
    &["std", "os"],
    &["std", "process"],
    &["std", "sync", "LazyLock"],
    &["std", "sync", "Mutex"],
    &["std", "sync", "OnceLock"],
    &["std", "sync", "RwLock"],
    &["std", "sync", "atomic"],
    &["std", "sync", "mpsc"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["libc"],
    &["nftables"],
    &["nix"],
    &["redb"],
    &["rustix"],
    &["tokio"],
    &["tracing"],
];

/// Crates that know the kernel's maps, and the module that may use them.
const KERNEL: [&str; 2] = ["aya", "ar_ebpf"];
const KERNEL_USER: [&str; 2] = ["enforcer", "xdp"];

/// Where unsafe code may stand.
const UNSAFE: [&str; 8] = [
    "ar-ebpf/src/batch.rs",
    "ar-ebpf/src/bench.rs",
    "ar-ebpf/src/designs.rs",
    "ar-ebpf/src/lib.rs",
    "ar-ebpf/src/mapped.rs",
    "ar-ebpf/src/maps.rs",
    "ar-ebpf/src/packet.rs",
    // One call of the allocator, which is this crate's to choose.
    "ar-userspace/src/main.rs",
];

/// Roots of crates that forbid it altogether.
const SAFE_ROOTS: [&str; 3] = [
    "ar-userspace/src/lib.rs",
    "xtask/src/lib.rs",
    "xtask/src/main.rs",
];

/// Readers of a clock outside the module that owns them.
pub(crate) fn clocks(file: &str, module: &[String], code: &Code, paths: &[Path]) -> Vec<Finding> {
    if module.first().is_some_and(|first| first == CLOCK) {
        return Vec::new();
    }
    let reads = paths
        .iter()
        .filter(|path| ends_in_any(path, &CLOCK_READERS));
    let reads = reads.map(|path| (path.at, path.segments.join("::")));
    let elapsed = code.product.match_indices(".elapsed(");
    let elapsed = elapsed.map(|(at, _)| (at, ".elapsed()".to_owned()));
    reads
        .chain(elapsed)
        .map(|(at, what)| Finding {
            file: file.to_owned(),
            line: line_of(&code.product, at),
            what: format!("`{what}` reads a clock"),
            why: "only `clock` does, so that tests own the time",
            mend: "take a `Moment` as an argument",
        })
        .collect()
}

/// What leads out of the core.
pub(crate) fn core(file: &str, code: &Code, paths: &[Path]) -> Vec<Finding> {
    let impure = paths.iter().filter(|path| {
        let begins = |prefix: &&[&str]| path.segments.iter().zip(*prefix).all(|(a, b)| a == b);
        IMPURE
            .iter()
            .any(|prefix| path.segments.len() >= prefix.len() && begins(prefix))
    });
    let impure = impure.map(|path| (path.at, path.segments.join("::")));
    let global = ["thread_local", "async", "await"].into_iter();
    let global =
        global.flat_map(|word| words(&code.product, word).map(move |at| (at, word.to_owned())));
    impure
        .chain(global)
        .map(|(at, what)| Finding {
            file: file.to_owned(),
            line: line_of(&code.product, at),
            what: format!("the core names `{what}`"),
            why: "it is pure: same events and times, same effects",
            mend: "let the shell do it and pass the result in, or return an effect",
        })
        .collect()
}

/// Users of the kernel's maps outside the module that owns them.
pub(crate) fn kernel_abi(
    file: &str,
    module: &[String],
    code: &Code,
    paths: &[Path],
) -> Vec<Finding> {
    if module
        .iter()
        .zip(KERNEL_USER)
        .filter(|(a, b)| *a == b)
        .count()
        == KERNEL_USER.len()
    {
        return Vec::new();
    }
    let uses = paths.iter().filter(|path| {
        let first = path.segments.first();
        first.is_some_and(|first| KERNEL.contains(&first.as_str()))
    });
    uses.map(|path| Finding {
        file: file.to_owned(),
        line: line_of(&code.product, path.at),
        what: format!(
            "`{}` reaches for the kernel's maps",
            path.segments.join("::")
        ),
        why: "only `enforcer::xdp` knows them",
        mend: "let it do this behind the enforcer's trait",
    })
    .collect()
}

/// Unsafe code outside the files that own it, and crate roots that do not forbid it.
///
/// The kernel program's crate needs unsafe attributes to name its sections.
pub(crate) fn unsafe_code(file: &str, code: &Code) -> Vec<Finding> {
    let finding = |at: usize, what: &str| Finding {
        file: file.to_owned(),
        line: line_of(&code.all, at),
        what: what.to_owned(),
        why: "unsafe code stands in as few files as can be",
        mend: "use a safe function, or go through `ar-ebpf`'s `packet` and `maps`",
    };
    let mut findings = Vec::new();
    if SAFE_ROOTS.contains(&file) && !code.all.contains("#![forbid(unsafe_code)]") {
        findings.push(finding(0, "the crate does not forbid unsafe code"));
    }
    if UNSAFE.contains(&file) {
        return findings;
    }
    let attribute =
        |at: usize| file.starts_with("ar-ebpf/") && code.all[..at].trim_end().ends_with("#[");
    let places = words(&code.all, "unsafe").filter(|at| !attribute(*at));
    findings.extend(places.map(|at| finding(at, "`unsafe` stands here")));
    findings
}

fn ends_in_any(path: &Path, ends: &[&[&str]]) -> bool {
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
    ends.iter().any(|end| segments.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::super::paths::paths;
    use super::*;

    type Check = fn(&str, &[String], &Code, &[Path]) -> Vec<Finding>;

    fn check(check: Check, module: &str, text: &str, expected: &[(usize, &str)]) {
        let code = Code::new(text);
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        let found = check("file.rs", &module, &code, &paths(&code));
        let found: Vec<(usize, &str)> = found.iter().map(|f| (f.line, f.what.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn only_clock_reads_a_clock() {
        let now = "fn f() {\nstd::time::Instant::now() }";
        let expected = [(2, "`std::time::Instant::now` reads a clock")];
        check(clocks, "daemon", now, &expected);
        check(clocks, "clock", now, &[]);
        check(
            clocks,
            "ledger",
            "use rustix::time::clock_gettime as x;",
            &[(1, "`rustix::time::clock_gettime` reads a clock")],
        );
        check(
            clocks,
            "ledger",
            "use x::{clock_gettime}; y(start.elapsed());",
            &[
                (1, "`x::clock_gettime` reads a clock"),
                (1, "`.elapsed()` reads a clock"),
            ],
        );
        check(
            clocks,
            "daemon",
            "clock.now(); tokio::time::sleep(x); // Instant::now()",
            &[],
        );
        check(
            clocks,
            "daemon",
            "#[cfg(test)] mod tests { fn f() { Instant::now(); } }",
            &[],
        );
    }

    #[test]
    fn the_core_stays_pure() {
        let core: Check = |file, _, code, paths| core(file, code, paths);
        check(
            core,
            "alert",
            "use std::{\nfs, fmt};",
            &[(2, "the core names `std::fs`")],
        );
        check(
            core,
            "alert",
            "use std::net::{IpAddr, UdpSocket};",
            &[(1, "the core names `std::net::UdpSocket`")],
        );
        check(
            core,
            "alert",
            "std::env::var(x); tokio::spawn(y);",
            &[
                (1, "the core names `std::env::var`"),
                (1, "the core names `tokio::spawn`"),
            ],
        );
        check(
            core,
            "alert",
            "async fn f() {}",
            &[(1, "the core names `async`")],
        );
        check(
            core,
            "alert",
            "use std::fmt; use std::net::IpAddr; use std::sync::Arc; use std::time::Duration;",
            &[],
        );
        check(
            core,
            "alert",
            "use crate::time::Moment; // std::fs, tokio",
            &[],
        );
    }

    #[test]
    fn only_the_xdp_enforcer_knows_the_kernels_maps() {
        let expected = [(1, "`aya::Ebpf` reaches for the kernel's maps")];
        check(kernel_abi, "daemon", "use aya::Ebpf;", &expected);
        check(
            kernel_abi,
            "enforcer::nftables",
            "use aya::Ebpf;",
            &expected,
        );
        check(
            kernel_abi,
            "enforcer::xdp",
            "use aya::Ebpf; use ar_ebpf::Ban;",
            &[],
        );
        check(kernel_abi, "enforcer::xdp::links", "use aya::Ebpf;", &[]);
        check(
            kernel_abi,
            "daemon",
            "use crate::enforcer; // aya::Ebpf",
            &[],
        );
    }

    #[test]
    fn unsafe_code_stands_where_it_may() {
        let found = |file: &str, text: &str| -> Vec<String> {
            let found = unsafe_code(file, &Code::new(text));
            found.into_iter().map(|finding| finding.what).collect()
        };
        let stands = ["`unsafe` stands here"];
        assert_eq!(found("tests/src/main.rs", "unsafe { x() }"), stands);
        assert_eq!(found("ar-ebpf/src/filter.rs", "unsafe { x() }"), stands);
        assert_eq!(
            found("tests/src/main.rs", "#[unsafe(no_mangle)] fn f() {}"),
            stands
        );
        assert!(found("ar-ebpf/src/main.rs", "#[unsafe(no_mangle)] fn f() {}").is_empty());
        assert!(found("ar-ebpf/src/maps.rs", "unsafe { x() }").is_empty());
        assert!(
            found(
                "tests/src/main.rs",
                "// unsafe\nlet unsafe_code = \"unsafe\";"
            )
            .is_empty()
        );
        let root = "xtask/src/lib.rs";
        assert_eq!(
            found(root, "pub mod a;"),
            ["the crate does not forbid unsafe code"]
        );
        assert!(found(root, "#![forbid(unsafe_code)]\npub mod a;").is_empty());
    }
}
