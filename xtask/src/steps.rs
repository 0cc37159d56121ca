//! `cargo xtask test`: every check and every test, one step after the other.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::process::Program;
use crate::setup::{self, Need};
use crate::tree::Tree;
use crate::{codegen, fuzz, pages, say, tidy};

/// The differential test of the screen: a package of its own.
const SCREEN_TEST: &str = "crates/rejoin-screen/xterm";

/// Seconds of the fuzzer; `cargo xtask fuzz terminal` runs it for longer.
const FUZZ_SECONDS: u32 = 15;

/// A wrapper of a crate that nobody names yet is a rule, not a mistake.
const DENY: [&str; 8] =
    ["cargo", "deny", "check", "--allow", "unused-wrapper", "licenses", "bans", "sources"];

struct Step {
    name: &'static str,
    about: &'static str,
    needs: &'static [Need],
    run: fn(&Path) -> anyhow::Result<()>,
}

/// In this order: what fails fastest comes first, what needs the most built last.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "the Rust code is formatted",
        needs: &[Need::RustTools],
        run: |root| Program::new(root, &["cargo", "fmt", "--all", "--check"]).run(),
    },
    Step {
        name: "tidy",
        about: "layers, names, sizes, links, lock files",
        needs: &[],
        run: tidy::run,
    },
    Step {
        name: "codegen",
        about: "the generated files are those of the tables",
        needs: &[],
        run: codegen::check,
    },
    Step { name: "web", about: "the pages build and type-check", needs: &[Need::Node], run: web },
    Step {
        name: "clippy",
        about: "no warning in any crate",
        needs: &[Need::RustTools, Need::Node],
        run: clippy,
    },
    Step {
        name: "deny",
        about: "licences, banned crates, sources",
        needs: &[Need::CargoDeny],
        run: |root| Program::new(root, &DENY).run(),
    },
    Step {
        name: "rust",
        about: "the tests of all crates",
        needs: &[Need::Node],
        run: |root| {
            pages::set_up_and_build(root)?;
            Program::new(root, &["cargo", "test", "--workspace"]).run()
        },
    },
    Step {
        name: "fuzz",
        about: "hostile output into terminals",
        needs: &[Need::Node],
        run: |root| {
            pages::set_up_and_build(root)?;
            fuzz::check(root, FUZZ_SECONDS)
        },
    },
    Step {
        name: "client",
        about: "the tests of the client and the pages",
        needs: &[Need::Node],
        run: |root| {
            pages::set_up_and_build(root)?;
            Program::new(root, &["npm", "test"]).run()
        },
    },
    Step {
        name: "screen",
        about: "the screen against xterm.js",
        needs: &[Need::Node],
        run: screen,
    },
    Step {
        name: "browser",
        about: "the pages in Chromium, against the server",
        needs: &[Need::Node, Need::Browser],
        run: browser,
    },
];

/// Prints the steps' names.
pub fn list() {
    for step in STEPS {
        say(format_args!("{:<8} {}", step.name, step.about));
    }
}

/// Runs all steps, or only those named, and stops at the first that fails.
///
/// # Errors
/// When a step fails; names it.
pub fn test(root: &Path, only: &[String]) -> anyhow::Result<()> {
    let steps = chosen(only)?;
    let started = Instant::now();
    let mut done: Vec<(&str, Duration)> = Vec::new();

    let mut needs = vec![Need::Rust];
    for need in steps.iter().flat_map(|s| s.needs) {
        if !needs.contains(need) {
            needs.push(*need);
        }
    }
    say("== set-up: what the steps need");
    setup::ensure(root, &needs).context("set-up failed")?;
    done.push(("set-up", started.elapsed()));

    for step in steps {
        say(format_args!("\n== {}: {}", step.name, step.about));
        let began = Instant::now();
        let result = (step.run)(root);
        let took = began.elapsed();
        result.with_context(|| {
            format!(
                "step `{name}` failed after {} (alone: `cargo xtask test --only {name}`)",
                seconds(took),
                name = step.name
            )
        })?;
        done.push((step.name, took));
    }

    say("\nstep          time");
    for (name, took) in &done {
        say(format_args!("{name:<8} {:>9}", seconds(*took)));
    }
    say(format_args!("all {} steps passed in {}", done.len(), seconds(started.elapsed())));
    Ok(())
}

fn chosen(only: &[String]) -> anyhow::Result<Vec<&'static Step>> {
    if only.is_empty() {
        return Ok(STEPS.iter().collect());
    }
    for name in only {
        if !STEPS.iter().any(|s| s.name == name) {
            let known: Vec<&str> = STEPS.iter().map(|s| s.name).collect();
            bail!("there is no step `{name}`; there are: {}", known.join(", "));
        }
    }
    Ok(STEPS.iter().filter(|s| only.iter().any(|name| s.name == name)).collect())
}

fn web(root: &Path) -> anyhow::Result<()> {
    pages::set_up_and_build(root)?;
    if root.join("package.json").is_file() {
        pages::install(root, &Tree::read(root)?)?;
        Program::new(root, &["npm", "run", "lint"]).run()?;
    }
    Ok(())
}

fn clippy(root: &Path) -> anyhow::Result<()> {
    pages::set_up_and_build(root)?;
    let line = ["cargo", "clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    Program::new(root, &line).run()?;
    // What only a feature builds.
    let line = ["cargo", "clippy", "--package", "rejoin", "--features", "otlp"];
    Program::new(root, &[&line[..], &["--", "--deny", "warnings"]].concat()).run()
}

fn screen(root: &Path) -> anyhow::Result<()> {
    let folder = root.join(SCREEN_TEST);
    if !folder.is_dir() {
        say(format_args!("there is no {SCREEN_TEST}: nothing to test"));
        return Ok(());
    }
    Program::new(root, &["npm", "ci", "--no-audit", "--no-fund"]).within(&folder).run()?;
    Program::new(root, &["npm", "test"]).within(&folder).run()
}

fn browser(root: &Path) -> anyhow::Result<()> {
    pages::set_up_and_build(root)?;
    Program::new(root, &["cargo", "build", "--release", "--bin", "rejoin"]).run()?;
    Program::new(root, &["npm", "run", "test:browser"])
        .with("REJOIN_BIN", target_folder(root)?.join("release/rejoin"))
        .run()
}

/// Where cargo puts what it builds; the environment may have moved it.
pub(crate) fn target_folder(root: &Path) -> anyhow::Result<PathBuf> {
    let line = ["cargo", "metadata", "--no-deps", "--format-version", "1"];
    let metadata: serde_json::Value = serde_json::from_str(&Program::new(root, &line).output()?)?;
    let folder = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    Ok(PathBuf::from(folder))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_step_is_answered_with_the_known_ones() {
        let error = chosen(&["rusty".to_owned()]).err().map(|e| e.to_string());
        assert!(
            error
                .is_some_and(|e| e.contains("no step `rusty`") && e.contains("rust, fuzz, client"))
        );
    }

    #[test]
    fn chosen_steps_keep_their_order() {
        let steps = chosen(&["rust".to_owned(), "fmt".to_owned()]).unwrap_or_default();
        let names: Vec<&str> = steps.iter().map(|s| s.name).collect();
        assert_eq!(names, ["fmt", "rust"]);
    }

    #[test]
    fn each_step_has_its_own_name() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..index].iter().all(|s| s.name != step.name), "{} twice", step.name);
        }
    }
}
