//! Reads the files: the only IO of the configuration.
//!
//! `forebay.toml` comes first, then `conf.d/*.toml` beside it in the order of their names. Relative paths,
//! schemas and secrets are looked for beside the main file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Config;
use super::check::{Outside, check, check_gateway, hash};
use super::document::File;
use super::problem::{Problem, Problems};

/// Largest file of the configuration, a schema or a secret.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Folder of further files.
const CONF_D: &str = "conf.d";

/// The file system and environment of this process.
struct Disk;

impl Outside for Disk {
    fn read(&self, path: &Path) -> Result<String, String> {
        read(path).map_err(|error| error.to_string())
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// The file system and environment of a text of the past: files and variables may have gone since, and what lanes
/// compute does not depend on them.
struct Past;

impl Outside for Past {
    /// A schema that lets everything in, and some secret.
    fn read(&self, _: &Path) -> Result<String, String> {
        Ok("{}".to_owned())
    }

    fn variable(&self, name: &str) -> Option<String> {
        Some(std::env::var(name).unwrap_or_else(|_| "unset".to_owned()))
    }
}

/// The configuration of a text that a `Config` record keeps, for what lanes compute of it: schemas and secrets are
/// not what they were.
///
/// # Errors
/// [`Problems`]: what this program does not understand any more.
pub fn from_record(text: &str) -> Result<Config, Problems> {
    let file = File { name: "the configuration in force then".to_owned(), text: text.to_owned() };
    let (config, _) = check(&[file], Path::new("."), &Past)?;
    Ok(Config { text: text.into(), hash: hash(text), ..config })
}

/// Reads and checks the configuration at `path`; warnings stand beside it.
///
/// # Errors
/// [`Problems`]: everything that is wrong, or the file that cannot be read.
pub fn load(path: &Path) -> Result<(Config, Vec<Problem>), Problems> {
    check(&files(path)?, dir(path), &Disk)
}

/// Where the configuration at `path` puts the admin socket. Only `[gateway]` is looked at, so that a gateway is
/// reached while the rest of its file is being worked on, or holds what only the gateway may read.
///
/// # Errors
/// [`Problems`] of `[gateway]`, of texts that are no TOML, or the file that cannot be read.
pub fn admin_socket(path: &Path) -> Result<PathBuf, Problems> {
    check_gateway(&files(path)?, dir(path), &Disk).map(|gateway| gateway.admin)
}

fn dir(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn files(path: &Path) -> Result<Vec<File>, Problems> {
    let name = path.file_name().map_or_else(|| path.into(), PathBuf::from);
    let mut files = vec![file(&name, path)?];
    for path in parts(&dir(path).join(CONF_D))? {
        let name = Path::new(CONF_D).join(path.file_name().unwrap_or_default());
        files.push(file(&name, &path)?);
    }
    Ok(files)
}

/// Checks a text as if it were the file `name` in `dir`.
///
/// # Errors
/// [`Problems`]: everything that is wrong.
pub fn from_text(name: &str, text: &str, dir: &Path) -> Result<(Config, Vec<Problem>), Problems> {
    check(&[File { name: name.to_owned(), text: text.to_owned() }], dir, &Disk)
}

fn file(name: &Path, path: &Path) -> Result<File, Problems> {
    match read(path) {
        Ok(text) => Ok(File { name: name.display().to_string(), text }),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// The further files, by name; none where there is no folder.
fn parts(dir: &Path) -> Result<Vec<PathBuf>, Problems> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(dir, &error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(dir, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn unreadable(path: &Path, error: &io::Error) -> Problems {
    let (file, message) = (path.display().to_string(), format!("cannot be read: {error}"));
    Problems(vec![Problem { file, line: 0, column: 0, path: String::new(), message }])
}

fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn further_files_follow_by_name_and_all_is_relative_to_the_first() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                (
                    "forebay.toml",
                    "[gateway]\ndata_dir = \"data\"\n[source.a]\ntopic = \"a\"\nschema = \"any\"\n",
                ),
                ("conf.d/20-last.toml", "[source.c]\ntopic = \"c\"\n"),
                ("conf.d/10-next.toml", "[source.b]\ntopic = \"b\"\n"),
                ("conf.d/README", "no TOML"),
                ("schemas/any.json", "{}"),
            ],
        );
        let (config, _) = load(&dir.path().join("forebay.toml")).unwrap();
        let names: Vec<_> = config.sources.iter().map(|source| &*source.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(config.gateway.data_dir, dir.path().join("data"));
        assert!(config.text.contains("# conf.d/10-next.toml\n[source.b]"));
        std::fs::remove_dir_all(dir.path()).unwrap();
        let past = from_record(&config.text).unwrap();
        assert_eq!((past.sources.len(), &past.text, past.hash), (3, &config.text, config.hash));
    }

    #[test]
    fn problems_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("forebay.toml");
        assert!(
            load(&path)
                .unwrap_err()
                .to_string()
                .ends_with("cannot be read: No such file or directory (os error 2)")
        );
        write(dir.path(), &[("forebay.toml", "[access]\n"), ("conf.d/x.toml", "\n[sink.s]\nkind = 1\n")]);
        assert_eq!(load(&path).unwrap_err().to_string(), "conf.d/x.toml:3:8: sink.s.kind: expected a text");
    }
}
