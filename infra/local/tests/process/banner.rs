//! What is printed at a start, and warned of.

use serde_json::json;

use crate::stack::{Scratch, Stack, program};

#[test]
fn the_banner_says_why_the_tokens_name_another_issuer() {
    let folder = Scratch::new();
    Stack::in_folder(&folder.0, &[]).kill();
    let kept = Stack::in_folder(&folder.0, &[]);
    let issuer = kept.says("Issuer").unwrap();
    let line = format!("{issuer}, named by all tokens (iss), as at the first\n");
    assert!(kept.banner.contains(&line), "{}", kept.banner);
    let set = Stack::start(&["--memory"], &[("ISSUER", "https://id.example.com")]);
    assert!(
        set.banner
            .contains("named by all tokens (iss), by the setting ISSUER."),
        "{}",
        set.banner
    );
}

/// The lines that a text takes on a terminal of 80 columns.
fn lines_on_a_terminal(text: &str) -> usize {
    let lines = text.lines().map(|line| line.chars().count());
    lines.map(|length| length.div_ceil(80).max(1)).sum()
}

#[test]
fn the_banner_fits_on_a_terminal_of_24_lines_whatever_it_says() {
    let folder = Scratch::new();
    let path = folder.0.to_str().unwrap();
    Stack::in_folder(&folder.0, &[]).kill();
    let whole = Stack::start(&["--data-dir", path, "--dynamodb-port", "0"], &[]);
    assert!(whole.says("Issuer").is_some() && whole.says("DynamoDB").is_some());
    let memory = Stack::start(&["--memory"], &[]);
    for stack in [&whole, &memory] {
        let lines = lines_on_a_terminal(&stack.banner);
        // cargo has two of the 24, and the shell's prompt stands above them.
        assert!(lines <= 24, "{lines}: {}", stack.banner);
        for said in ["/docs", "/local/events", "/local/mail", "/local/cleanup"] {
            assert!(stack.banner.contains(said), "{}", stack.banner);
        }
    }
    let lines = lines_on_a_terminal(&memory.banner);
    assert!(lines <= 21, "{lines}: {}", memory.banner);
}

/// The command of the banner, as it stands there, makes an administrator.
#[test]
fn the_banner_says_how_somebody_becomes_an_administrator() {
    let folder = Scratch::new();
    let path = folder.0.to_str().unwrap();
    for arguments in [
        &["--data-dir", path][..],
        &["--memory", "--dynamodb-port", "0"],
    ] {
        let stack = Stack::start(arguments, &[]);
        let (_, rest) = stack.banner.split_once("(first: cargo run -- ").unwrap();
        let (command, _) = rest.split_once(')').unwrap();
        let command = command.replace("YOU", "ada@example.com");
        let tokens = stack.register("ada@example.com");
        let words: Vec<&str> = command.split(' ').collect();
        let ended = program(&words).output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{command}: {ended:?}");
        let access = tokens["access_token"].as_str().unwrap();
        let me = stack.call("GET", "/v1/me", access, &json!({}));
        assert_eq!(me.json()["roles"], json!(["admin"]), "{}", me.text);
    }
    let closed = Stack::start(&["--memory"], &[]);
    let told = "/admin (first: start with --dynamodb-port 8000 too, for admin grant YOU)";
    assert!(closed.banner.contains(told), "{}", closed.banner);
}

#[test]
fn a_style_sheet_that_is_not_there_is_told_with_its_setting() {
    let folder = Scratch::new();
    std::fs::create_dir(&folder.0).unwrap();
    let path = folder.0.to_str().unwrap();
    let setting = ("PAGE_STYLESHEET", "/local/brand/brand.css");
    for (arguments, told) in [
        (
            &["--memory"][..],
            "PAGE_STYLESHEET is /local/brand/brand.css, which is there only with --brand FOLDER",
        ),
        (&["--memory", "--brand", path], "has no file brand.css"),
    ] {
        let stack = Stack::start(arguments, &[setting]);
        let missing = stack.get("/local/brand/brand.css");
        assert_eq!(missing.status, 404, "{}", missing.text);
        assert_eq!(stack.get("/account").status, 200);
        let log = stack.kill();
        assert!(log.contains("WARN") && log.contains(told), "{log}");
    }
    std::fs::write(folder.0.join("brand.css"), "").unwrap();
    let right = Stack::start(&["--memory", "--brand", path], &[setting]);
    assert_eq!(right.get("/local/brand/brand.css").status, 200);
    assert!(!right.kill().contains("WARN"));
}
