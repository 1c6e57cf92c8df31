//! The real files that the demonstration imports.
//!
//! By default this repository and the sources of its dependencies as cargo's registry has them,
//! up to a total that keeps the whole under a minute or two; or any tree.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cli::{Failure, metadata_bytes};

/// Bytes of files that are taken by default.
const DEFAULT_BYTES_MAX: u64 = 80 << 20;
/// Folders that are made, not written.
const MADE: [&str; 3] = ["target", ".git", "corpus"];

/// A file, and what was put of it.
pub(super) struct SourceFile {
    /// Where it is.
    path: PathBuf,
    /// Its key: the path below the tree.
    pub(super) key: Vec<u8>,
    /// Its metadata as they are stored.
    pub(super) meta: [u8; 16],
    /// Its length when the tree was listed.
    pub(super) len: u64,
    /// Length and checksum of what was last put; tells a file that changed meanwhile from a loss.
    pub(super) put: Option<(usize, u32)>,
}

impl SourceFile {
    /// The bytes of the file now.
    pub(super) fn load(&self) -> Result<Vec<u8>, Failure> {
        fs::read(&self.path).map_err(|error| Failure::file(&self.path, &error))
    }

    /// Its name for people.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Where files come from.
pub(super) struct Sources {
    /// In the order in which they are imported.
    pub(super) files: Vec<SourceFile>,
    /// Their bytes.
    pub(super) bytes: u64,
    /// What they are, for the report.
    pub(super) what: String,
    /// How many were left out for size.
    pub(super) left_out: usize,
}

struct Budget {
    bytes_max: u64,
    file_max: u64,
    key_max: usize,
}

impl Sources {
    /// Files of `tree`, or the default; no more than `bytes_max`, each of them at most `file_max`.
    pub(super) fn collect(
        tree: Option<&Path>,
        bytes_max: u64,
        file_max: u64,
        key_max: usize,
    ) -> Result<Self, Failure> {
        let mut sources = Self { files: Vec::new(), bytes: 0, what: String::new(), left_out: 0 };
        let mut budget = Budget { bytes_max, file_max, key_max };
        if let Some(tree) = tree {
            if !tree.is_dir() {
                return Err(Failure::new(format!("{} is not a directory", tree.display())));
            }
            sources.what = tree.display().to_string();
            sources.add_tree(tree, "", &[], &budget)?;
        } else {
            budget.bytes_max = budget.bytes_max.min(DEFAULT_BYTES_MAX);
            sources.add_default(&budget)?;
        }
        if sources.files.is_empty() {
            return Err(Failure::new(format!("{} holds no file to import", sources.what)));
        }
        Ok(sources)
    }

    fn add_default(&mut self, budget: &Budget) -> Result<(), Failure> {
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let here =
            || std::env::current_dir().map_err(|error| Failure::file(Path::new("."), &error));
        let repository = if built_in.join("Cargo.lock").is_file() { built_in } else { here()? };
        let repository = fs::canonicalize(&repository).unwrap_or(repository);
        self.add_tree(&repository, "shingle/", &MADE, budget)?;
        let dependencies = dependencies(&repository.join("Cargo.lock"));
        let mut count = 0;
        for registry in registries() {
            for name in &dependencies {
                let tree = registry.join(name);
                if tree.is_dir() {
                    self.add_tree(&tree, &format!("registry/{name}/"), &[], budget)?;
                    count += 1;
                }
            }
        }
        self.what = format!("{} and the sources of {count} dependencies", repository.display());
        Ok(())
    }

    fn add_tree(
        &mut self,
        tree: &Path,
        prefix: &str,
        skip: &[&str],
        budget: &Budget,
    ) -> Result<(), Failure> {
        let mut dirs = vec![tree.to_owned()];
        let mut found = Vec::new();
        while let Some(dir) = dirs.pop() {
            let failed = |error| Failure::file(&dir, &error);
            for entry in fs::read_dir(&dir).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() && !skip.iter().any(|name| entry.file_name() == *name) {
                    dirs.push(entry.path());
                } else if kind.is_file() {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        for path in found {
            let metadata = fs::metadata(&path).map_err(|error| Failure::file(&path, &error))?;
            let below = path.strip_prefix(tree).unwrap_or(&path);
            let key = [prefix.as_bytes(), below.as_os_str().as_bytes()].concat();
            let len = metadata.len();
            if len > budget.file_max
                || self.bytes + len > budget.bytes_max
                || key.len() > budget.key_max
            {
                self.left_out += 1;
                continue;
            }
            self.bytes += len;
            self.files.push(SourceFile {
                meta: metadata_bytes(&metadata),
                path,
                key,
                len,
                put: None,
            });
        }
        Ok(())
    }
}

/// Folders of cargo's registry in which sources lie.
fn registries() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let src = home.unwrap_or_default().join("registry/src");
    let entries = fs::read_dir(src).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// `name-version` of every package that a lock file names.
fn dependencies(lock: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(lock).unwrap_or_default();
    let field = |block: &str, name: &str| {
        let line = block.lines().find(|line| line.starts_with(&format!("{name} = ")))?;
        line.split('"').nth(1).map(str::to_owned)
    };
    let blocks = text.split("[[package]]").skip(1);
    blocks
        .filter(|block| block.contains("source = \"registry"))
        .filter_map(|block| Some(format!("{}-{}", field(block, "name")?, field(block, "version")?)))
        .collect()
}
