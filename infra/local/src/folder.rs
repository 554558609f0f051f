//! The data folder: the database, the secret, and a lock so that two processes never share them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use latchkey_domain::random::RandomSource;
use latchkey_domain::token::{MIN_SECRET_BYTES, RsaPrivateKey};

const LOCK: &str = "lock";
const DATABASE: &str = "latchkey.db";
const SECRET: &str = "token-secret";
const DEVICE_SECRET: &str = "device-secret";
const RSA_KEY: &str = "token-rsa-key";
const ISSUER: &str = "issuer";
const STREAM_CHECKPOINT: &str = "stream-checkpoint";
const DEAD_LETTERS: &str = "dead-letters";

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is a file of that name.
    #[error("the data folder {} is a file; choose another folder with --data-dir", .0.display())]
    NotAFolder(PathBuf),
    /// It, or something in it, cannot be made, read or written.
    #[error("the data folder cannot be used: {}: {source}; choose another with --data-dir, or use --memory", .path.display())]
    Unusable {
        /// What cannot.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "the data folder {} is in use by another running instance; stop that one, or choose another folder with \
         --data-dir",
        .0.display()
    )]
    InUse(PathBuf),
    /// The secret was damaged.
    #[error(
        "{} does not hold a secret of at least {MIN_SECRET_BYTES} bytes; restore it, or remove it to have a new one made, \
         which signs everybody out",
        .0.display()
    )]
    BadSecret(PathBuf),
    /// The device secret was damaged.
    #[error(
        "{} does not hold a secret of at least {MIN_SECRET_BYTES} bytes; restore it, or remove it to have a new one made: \
         failed sign-ins are then counted anew, and devices are not known until their next sign-in",
        .0.display()
    )]
    BadDeviceSecret(PathBuf),
    /// The RSA key was damaged.
    #[error(
        "{} does not hold an RSA key; restore it, or remove it to have a new one made: access tokens of the old one are \
         then refused, and clients refresh",
        .0.display()
    )]
    BadRsaKey(PathBuf),
}

/// The data folder, while this process has it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the folder, made if need be for this user alone, and locks it until the value is dropped or the process
    /// ends, however it ends.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let found = fs::metadata(path);
        if found.as_ref().is_ok_and(|found| !found.is_dir()) {
            return Err(FolderError::NotAFolder(path.to_owned()));
        }
        if found.is_err() {
            for_this_user_alone::make_folder(path).map_err(unusable(path))?;
            // It holds a secret: keep it out of a repository that it may be in.
            let ignore = path.join(".gitignore");
            fs::write(&ignore, "*\n").map_err(unusable(&ignore))?;
        }
        let path = fs::canonicalize(path).map_err(unusable(path))?;
        let lock = path.join(LOCK);
        let file = for_this_user_alone::file()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock);
        let file = file.map_err(unusable(&lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, _lock: file }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(path)),
            Err(TryLockError::Error(source)) => Err(FolderError::Unusable { path: lock, source }),
        }
    }

    /// The folder, as an absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The database's file. It is made here, so that only this user may read it; SQLite gives the files that
    /// it adds the same permissions.
    pub(crate) fn database(&self) -> Result<PathBuf, FolderError> {
        let path = self.path.join(DATABASE);
        let file = for_this_user_alone::file()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        file.map_err(unusable(&path))?;
        Ok(path)
    }

    /// The secret from which the signing keys are derived, made on the first call.
    pub(crate) fn token_secret(&self, random: &dyn RandomSource) -> Result<String, FolderError> {
        let path = self.path.join(SECRET);
        if let Some(secret) = read_secret(&path, FolderError::BadSecret)? {
            return Ok(secret);
        }
        if self.was_used() {
            tracing::warn!(
                path = %path.display(),
                "the data folder has been used before and has no secret of its own: a new one was made, and \
                 every token that was issued with another is refused"
            );
        }
        self.keep_new_secret(&path, random)
    }

    /// The secret from which the keys of device tokens and counters are derived, made on the first call.
    pub(crate) fn device_secret(&self, random: &dyn RandomSource) -> Result<String, FolderError> {
        let path = self.path.join(DEVICE_SECRET);
        match read_secret(&path, FolderError::BadDeviceSecret)? {
            Some(secret) => Ok(secret),
            None => self.keep_new_secret(&path, random),
        }
    }

    fn keep_new_secret(
        &self,
        path: &Path,
        random: &dyn RandomSource,
    ) -> Result<String, FolderError> {
        let secret = new_secret(random);
        self.write_whole(path, &secret).map_err(unusable(path))?;
        Ok(secret)
    }

    /// The RSA key that signs access tokens: the one that was kept, else `new`, which is kept now.
    pub(crate) fn rsa_key(&self, new: &RsaPrivateKey) -> Result<String, FolderError> {
        let path = self.path.join(RSA_KEY);
        match fs::read_to_string(&path) {
            Ok(key) if is_rsa_key(&key) => Ok(key),
            Ok(_) => Err(FolderError::BadRsaKey(path)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(FolderError::BadRsaKey(path))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = new.to_base64();
                self.write_whole(&path, &key).map_err(unusable(&path))?;
                Ok(key.to_string())
            }
            Err(error) => Err(unusable(&path)(error)),
        }
    }

    /// Whether an earlier process has kept something here: by the issuer, or by a database that is not empty.
    fn was_used(&self) -> bool {
        let has_content = |name| {
            fs::metadata(self.path.join(name)).is_ok_and(|found| found.is_file() && found.len() > 0)
        };
        [ISSUER, DATABASE].into_iter().any(has_content)
    }

    /// The issuer that the folder's tokens name, if it was kept.
    pub(crate) fn issuer(&self) -> Result<Option<String>, FolderError> {
        let path = self.path.join(ISSUER);
        match fs::read_to_string(&path) {
            Ok(issuer) => Ok(Some(issuer.trim().to_owned()).filter(|issuer| !issuer.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&path)(error)),
        }
    }

    /// Keeps the issuer of the folder's tokens for later starts, which may be on another port: a token is valid only for
    /// the issuer that it names.
    pub(crate) fn keep_issuer(&self, issuer: &str) -> Result<(), FolderError> {
        let path = self.path.join(ISSUER);
        self.write_whole(&path, issuer).map_err(unusable(&path))
    }

    /// The sequence number of the last record of the stream that was published, if one was.
    pub(crate) fn stream_checkpoint(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.path.join(STREAM_CHECKPOINT)) {
            Ok(text) => {
                Ok(Some(text.trim().to_owned()).filter(|number| is_sequence_number(number)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps it.
    pub(crate) fn keep_stream_checkpoint(&self, sequence_number: &str) -> io::Result<()> {
        self.write_whole(&self.path.join(STREAM_CHECKPOINT), sequence_number)
    }

    /// Keeps a record of the stream that could not be published, in a file that its sequence number names.
    pub(crate) fn keep_dead_letter(&self, sequence_number: &str, text: &str) -> io::Result<()> {
        let folder = self.path.join(DEAD_LETTERS);
        for_this_user_alone::make_folder(&folder)?;
        let name = match is_sequence_number(sequence_number) {
            true => sequence_number,
            false => "unknown",
        };
        self.write_whole(&folder.join(format!("{name}.json")), text)
    }

    /// Writes a file so that it is there in full or not at all, whatever happens meanwhile.
    fn write_whole(&self, path: &Path, text: &str) -> io::Result<()> {
        let unfinished = self.path.join("unfinished");
        let mut file = for_this_user_alone::file()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&unfinished)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    }
}

/// The database of a data folder that has been used, whether or not a service has it open. Nothing is made.
pub(crate) fn existing_database(folder: &Path) -> Result<Option<PathBuf>, FolderError> {
    let path = folder.join(DATABASE);
    match fs::metadata(&path) {
        Ok(found) if found.is_file() && found.len() > 0 => Ok(Some(path)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(&path)(error)),
    }
}

/// The secret and the device secret of a data folder, as far as it has them. Nothing is made.
pub(crate) fn existing_secrets(
    folder: &Path,
) -> Result<(Option<String>, Option<String>), FolderError> {
    Ok((
        read_secret(&folder.join(SECRET), FolderError::BadSecret)?,
        read_secret(&folder.join(DEVICE_SECRET), FolderError::BadDeviceSecret)?,
    ))
}

/// A secret that was kept, if there is one.
fn read_secret(
    path: &Path,
    damaged: fn(PathBuf) -> FolderError,
) -> Result<Option<String>, FolderError> {
    match fs::read_to_string(path) {
        Ok(secret) if secret.trim().len() >= MIN_SECRET_BYTES => Ok(Some(secret.trim().to_owned())),
        Ok(_) => Err(damaged(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(damaged(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path)(error)),
    }
}

fn is_sequence_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_rsa_key(text: &str) -> bool {
    RsaPrivateKey::from_base64(text).is_ok_and(|key| key.check().is_ok())
}

/// Thirty-two random bytes, in hexadecimal.
pub(crate) fn new_secret(random: &dyn RandomSource) -> String {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unusable(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    |source| FolderError::Unusable { path, source }
}

#[cfg(unix)]
mod for_this_user_alone {
    use std::fs::DirBuilder;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    use super::{OpenOptions, Path, io};

    pub(super) fn make_folder(path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    pub(super) fn file() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.mode(0o600);
        options
    }
}

#[cfg(not(unix))]
mod for_this_user_alone {
    use super::{OpenOptions, Path, fs, io};

    pub(super) fn make_folder(path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    pub(super) fn file() -> OpenOptions {
        OpenOptions::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use latchkey_domain::random::SeededRandom;

    use super::*;

    /// A folder of a test's own, gone at its end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path =
                std::env::temp_dir().join(format!("latchkey-test-{}-{count}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_secret_is_made_once() {
        let scratch = Scratch::new();
        let random = SeededRandom::new(1);
        let path = scratch.0.join("data");
        let first = Folder::open(&path).unwrap().token_secret(&random).unwrap();
        let second = Folder::open(&path).unwrap().token_secret(&random).unwrap();
        assert_eq!(first, second);
        assert_eq!(first.len(), 64);
        assert_ne!(first, new_secret(&random));
        let device = || Folder::open(&path).unwrap().device_secret(&random).unwrap();
        let made = device();
        assert_eq!(made, device());
        assert_ne!(made, first);
    }

    #[test]
    fn the_rsa_key_is_made_once_and_not_replaced_in_silence() {
        let scratch = Scratch::new();
        let folder = Folder::open(&scratch.0).unwrap();
        let keys = [(); 2].map(|()| RsaPrivateKey::generate().unwrap());
        let first = folder.rsa_key(&keys[0]).unwrap();
        assert_eq!(first, *keys[0].to_base64());
        assert_eq!(folder.rsa_key(&keys[1]).unwrap().trim(), first);
        for damaged in [b"short".as_slice(), b"", &[0xff; 64]] {
            fs::write(folder.path().join(RSA_KEY), damaged).unwrap();
            let outcome = folder.rsa_key(&keys[1]);
            assert!(matches!(outcome, Err(FolderError::BadRsaKey(_))));
        }
    }

    #[test]
    fn the_issuer_is_kept() {
        let scratch = Scratch::new();
        let folder = Folder::open(&scratch.0).unwrap();
        assert_eq!(folder.issuer().unwrap(), None);
        folder.keep_issuer("http://127.0.0.1:3000").unwrap();
        let kept = folder.issuer().unwrap();
        assert_eq!(kept.as_deref(), Some("http://127.0.0.1:3000"));
        fs::write(folder.path().join(ISSUER), "\n").unwrap();
        assert_eq!(folder.issuer().unwrap(), None);
    }

    #[test]
    fn a_damaged_secret_is_not_replaced_in_silence() {
        let scratch = Scratch::new();
        let folder = Folder::open(&scratch.0).unwrap();
        for damaged in [b"short".as_slice(), b"", &[0xff; 64]] {
            fs::write(folder.path().join(SECRET), damaged).unwrap();
            let outcome = folder.token_secret(&SeededRandom::new(1));
            assert!(
                matches!(outcome, Err(FolderError::BadSecret(_))),
                "{outcome:?}"
            );
            fs::write(folder.path().join(DEVICE_SECRET), damaged).unwrap();
            let outcome = folder.device_secret(&SeededRandom::new(1));
            assert!(
                matches!(outcome, Err(FolderError::BadDeviceSecret(_))),
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let scratch = Scratch::new();
        let first = Folder::open(&scratch.0).unwrap();
        assert!(matches!(
            Folder::open(&scratch.0),
            Err(FolderError::InUse(_))
        ));
        drop(first);
        assert!(Folder::open(&scratch.0).is_ok());
    }

    #[test]
    fn a_file_is_no_folder() {
        let scratch = Scratch::new();
        let file = scratch.0.join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            Folder::open(&file),
            Err(FolderError::NotAFolder(_))
        ));
        assert!(matches!(
            Folder::open(&file.join("data")),
            Err(FolderError::Unusable { .. })
        ));
    }

    #[test]
    fn a_folder_that_was_there_gets_no_gitignore() {
        let scratch = Scratch::new();
        Folder::open(&scratch.0).unwrap();
        assert!(!scratch.0.join(".gitignore").exists());
        let made = scratch.0.join("made");
        Folder::open(&made).unwrap();
        assert!(made.join(".gitignore").exists());
    }

    #[cfg(unix)]
    #[test]
    fn only_their_owner_reads_the_folder_and_what_is_in_it() {
        use std::os::unix::fs::PermissionsExt;

        let scratch = Scratch::new();
        let folder = Folder::open(&scratch.0.join("data")).unwrap();
        folder.token_secret(&SeededRandom::new(1)).unwrap();
        folder.device_secret(&SeededRandom::new(1)).unwrap();
        folder.rsa_key(&RsaPrivateKey::generate().unwrap()).unwrap();
        let database = folder.database().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.path().join(SECRET)), 0o600);
        assert_eq!(mode(&folder.path().join(DEVICE_SECRET)), 0o600);
        assert_eq!(mode(&folder.path().join(RSA_KEY)), 0o600);
        assert_eq!(mode(&database), 0o600);
    }
}
