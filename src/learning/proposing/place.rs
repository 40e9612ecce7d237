//! Files that are there whole or not at all, and that nothing was overwritten for.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process,
};

/// Writes a file that its owner alone may read, and that takes its name when it is whole.
///
/// # Errors
/// There is a file of that name, or it cannot be written; nothing is left behind.
pub(super) fn place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut scratch = path.as_os_str().to_owned();
    scratch.push(format!(".{}.part", process::id()));
    let scratch = PathBuf::from(scratch);
    let written = create(&scratch).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        // Unlike a rename it fails where there is a file of that name, in one step.
        fs::hard_link(&scratch, path)
    });
    fs::remove_file(&scratch).ok();
    written
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_whole_its_owners_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stars.yaml");
        place(&path, b"one").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        let again = place(&path, b"two").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(place(&folder.path().join("no/folder.yaml"), b"one").is_err());
    }

    /// What a check beforehand takes for nothing, as it does what comes between the check and the writing.
    #[cfg(unix)]
    #[test]
    fn a_name_that_leads_nowhere_is_taken_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stars.yaml");
        std::os::unix::fs::symlink(folder.path().join("gone"), &path).unwrap();
        let taken = place(&path, b"one").unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    }
}
