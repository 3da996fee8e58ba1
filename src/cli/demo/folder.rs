//! A folder of this run's own below the system's folder for such things; gone at the end unless it is kept.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Readable by its owner only.
const MODE: u32 = 0o700;

/// What becomes of the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It is removed when dropped.
    Remove,
    /// It stays.
    Keep,
}

/// The folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    afterwards: Afterwards,
}

impl Folder {
    /// Makes a new folder in `parent`, named for this process.
    ///
    /// # Errors
    /// Where it cannot be made, or is there already.
    pub fn create(parent: &Path, afterwards: Afterwards) -> io::Result<Self> {
        let path = parent.join(format!("forebay-demo-{}", std::process::id()));
        DirBuilder::new().mode(MODE).create(&path)?;
        Ok(Self { path, afterwards })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it stays.
    pub fn afterwards(&self) -> Afterwards {
        self.afterwards
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.afterwards == Afterwards::Remove
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the folder");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_removed_with_all_that_is_in_it_unless_kept() {
        let parent = tempfile::tempdir().unwrap();
        for (afterwards, stays) in [(Afterwards::Remove, false), (Afterwards::Keep, true)] {
            let folder = Folder::create(parent.path(), afterwards).unwrap();
            let path = folder.path().to_owned();
            fs::create_dir(path.join("data")).unwrap();
            fs::write(path.join("data/lock"), "").unwrap();
            assert!(Folder::create(parent.path(), afterwards).is_err(), "two runs would share it");
            drop(folder);
            assert_eq!(path.exists(), stays, "{afterwards:?}");
        }
    }
}
