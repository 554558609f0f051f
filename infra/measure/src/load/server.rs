//! A local stack in its own process, in a temporary folder, on a free port.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::load::LoadError;

/// A folder that goes when this does.
#[derive(Debug)]
pub(crate) struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    pub(crate) fn new(name: &str) -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("latchkey-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A local stack. It is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    url: String,
    _folder: TemporaryFolder,
}

impl Server {
    /// Starts this very program as a local stack, and waits until it is ready.
    pub(crate) async fn start() -> Result<Self, LoadError> {
        let folder = TemporaryFolder::new("load")?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["local-stack", "--port", "0", "--data-dir"])
            .arg(folder.path())
            // Without a grace there is no interval either, so every refresh rotates.
            .env("REFRESH_GRACE_SECONDS", "0")
            // All clients have one address, and ask for more than people do.
            .env("SIGN_IN_FREE_FAILURES", "0")
            .env("ADDRESS_ATTEMPTS_PER_MINUTE", "0")
            .env("LIST_PER_MINUTE", "0")
            .env("CHANGE_PER_MINUTE", "0")
            .env("PURGE_PER_MINUTE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Its log lines are made, as always, and not kept.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or(LoadError::NotReady)?).lines();
        let mut url = None;
        // All that it says, until its last line: nobody reads the pipe after that.
        while let Some(line) = lines.next_line().await? {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("API") => url = words.next().map(str::to_owned),
                Some("Ctrl-C") => break,
                Some(_) | None => {}
            }
        }
        Ok(Self {
            process,
            url: url.ok_or(LoadError::NotReady)?,
            _folder: folder,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The most memory that it has had resident, in MB.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        peak_memory(&self.process.id()?.to_string())
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.process.kill().await;
    }
}

/// The most memory that a process has had resident, in MB; only Linux tells.
fn peak_memory(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
