//! What comes beside the binary: completions, man pages, the unit, the files of containers.

use std::process::Command;

use crate::support::leveret::Leveret;
use crate::support::{Scratch, root};

fn printed(arguments: &[&str]) -> String {
    let plan = arguments.iter().fold(Leveret::bare(), |plan, argument| plan.arg(argument));
    let (code, text) = plan.run();
    assert_eq!(code, Some(0), "{arguments:?}: {text}");
    text
}

#[test]
fn bash_completes_subcommands_and_options() {
    let script = Scratch::new("completions");
    script.write("leveret.bash", &printed(&["completions", "bash"]));
    let complete = |words: &str, at: usize| {
        let program = format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD={at}; \
             _leveret leveret \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.path().join("leveret.bash").display()
        );
        let output = Command::new("bash").args(["--norc", "-c", &program]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let commands = complete("leveret nsq", 1);
    for name in ["nsqd", "nsqlookupd", "nsq_tail", "nsq_to_file"] {
        assert!(commands.lines().any(|line| line == name), "{name}: {commands}");
    }
    assert_eq!(complete("leveret serve --conf", 2).trim(), "--config");
    for shell in ["zsh", "fish"] {
        assert!(printed(&["completions", shell]).contains("compare"), "{shell}");
    }
}

#[test]
fn there_is_a_man_page_for_each_command() {
    let folder = Scratch::new("man");
    printed(&["man", &folder.path().display().to_string()]);
    for page in ["leveret.1", "leveret-serve.1", "leveret-compare.1", "leveret-nsq_tail.1"] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}");
    }
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = std::fs::read_to_string(root().join("packaging/leveret.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/leveret serve --config /etc/leveret/leveret.yaml"));
    // The binary and the man page that it names are not installed here.
    let here = Scratch::new("unit");
    let program = env!("CARGO_BIN_EXE_leveret");
    here.write(
        "leveret.service",
        &unit.replace("/usr/bin/leveret", program).replace("Documentation=man:leveret(1)\n", ""),
    );
    let path = here.path().join("leveret.service");
    let verified = Command::new("systemd-analyze").arg("verify").arg(&path).output();
    let Ok(verified) = verified else {
        println!("skipped: no systemd-analyze here");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("leveret.service")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_files_of_containers_name_what_is_there() {
    let root = root();
    let compose = std::fs::read_to_string(root.join("compose.yaml")).unwrap();
    let mounted = compose.lines().filter_map(|line| line.trim().strip_prefix("- ./"));
    let paths: Vec<&str> = mounted.filter_map(|mount| mount.split(':').next()).collect();
    assert_eq!(paths.len(), 7, "{paths:?}");
    let docker = std::fs::read_to_string(root.join("Dockerfile")).unwrap();
    let copied = docker.lines().filter_map(|line| line.strip_prefix("COPY packaging/"));
    let copied = copied.map(|rest| format!("packaging/{}", rest.split(' ').next().unwrap()));
    for path in paths.into_iter().map(str::to_owned).chain(copied) {
        assert!(root.join(&path).exists(), "{path}");
    }
    for file in ["packaging/leveret.yaml", "packaging/compose/leveret.yaml"] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let here = Scratch::new("node");
        std::fs::create_dir_all(here.path().join("bridges")).unwrap();
        let routes = root.join("packaging/compose/bridges/orders.yaml");
        std::fs::copy(routes, here.path().join("bridges/orders.yaml")).unwrap();
        let brokers = if text.contains("\nbrokers:") {
            ""
        } else {
            "\nbrokers: { default: { uri: 'amqp://h' } }\n"
        };
        here.write("leveret.yaml", &(text.replace("/etc/leveret/bridges", "bridges") + brokers));
        let (code, said) = Leveret::bare()
            .env("AMQP_URL", "amqp://guest:guest@rabbitmq:5672/%2f")
            .arg("check")
            .arg(&format!("--config={}", here.path().join("leveret.yaml").display()))
            .run();
        assert_eq!(code, Some(0), "{file}: {said}");
    }
}
