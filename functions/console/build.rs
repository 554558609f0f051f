//! Makes the table of the files that the pages are made of, each as it is, in gzip and in Brotli, and the name
//! of this version of them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

use brotli::enc::{BrotliEncoderParams, backward_references::BrotliEncoderMode};
use flate2::{Compression, GzBuilder};

/// The pages' own files.
const PAGES: &str = "pages";
/// The client of the API, as it is published.
const CLIENT: &str = "../../infra/sdk/typescript/dist/latchkey.js";

/// What a file is sent as, by the end of its name. What has another end is no part of a page.
const TYPES: [(&str, &str); 3] = [
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

#[expect(
    clippy::disallowed_methods,
    reason = "cargo's own variables, not settings of the service"
)]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={PAGES}");
    println!("cargo::rerun-if-changed={CLIENT}");
    let target = PathBuf::from(std::env::var("OUT_DIR")?);
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let mut rows = String::new();
    let mut version = DefaultHasher::new();
    for (name, (path, content_type)) in files(&root)? {
        println!("cargo::rerun-if-changed={}", path.display());
        let content = without_comments(&fs::read_to_string(&path)?, &name);
        let content = content.as_bytes();
        version.write(name.as_bytes());
        version.write(content);
        let plain = target.join(&name);
        fs::write(&plain, content)?;
        let gzip = target.join(format!("{name}.gz"));
        compress(content, &gzip)?;
        let brotli = target.join(format!("{name}.br"));
        compress_more(content, &brotli)?;
        rows.push_str(&format!(
            "File {{ name: {name:?}, content_type: {content_type:?}, plain: include_bytes!({plain:?}), \
             gzip: include_bytes!({gzip:?}), brotli: include_bytes!({brotli:?}) }},\n"
        ));
    }
    fs::write(target.join("files.rs"), format!("&[\n{rows}]"))?;
    fs::write(
        target.join("version.txt"),
        format!("{:016x}", version.finish()),
    )?;
    Ok(())
}

/// Where a file is, and what it is sent as.
type Source = (PathBuf, &'static str);

/// The files by their names.
fn files(root: &Path) -> Result<BTreeMap<String, Source>, Box<dyn Error>> {
    let own = fs::read_dir(root.join(PAGES))?.map(|entry| entry.map(|entry| entry.path()));
    let paths = own.chain([Ok(root.join(CLIENT))]);
    let mut files = BTreeMap::new();
    for path in paths {
        let path = path?;
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or("a file without a name")?.to_owned();
        let end = name.rsplit('.').next().unwrap_or_default();
        if let Some((_, content_type)) = TYPES.iter().find(|(known, _)| *known == end) {
            files.insert(name, (path, *content_type));
        }
    }
    Ok(files)
}

/// A script or a style sheet without the lines that are comments alone, which are a quarter of what would be sent, and
/// without indentation. No text of ours goes over several lines.
fn without_comments(content: &str, name: &str) -> String {
    if !name.ends_with(".js") && !name.ends_with(".css") {
        return content.to_owned();
    }
    let mut kept = String::with_capacity(content.len());
    let mut is_inside = false;
    for line in content.lines() {
        let text = line.trim_start();
        let begins = text.starts_with("/*");
        let is_comment =
            is_inside || text.starts_with("//") || (begins && text.trim_end().ends_with("*/"));
        is_inside = (is_inside || begins) && !text.contains("*/");
        if !is_comment && !is_inside && !text.is_empty() {
            kept.push_str(text);
            kept.push('\n');
        }
    }
    kept
}

fn compress(content: &[u8], target: &Path) -> Result<(), Box<dyn Error>> {
    let mut compressed = GzBuilder::new().write(Vec::new(), Compression::best());
    compressed.write_all(content)?;
    fs::write(target, compressed.finish()?)?;
    Ok(())
}

/// In Brotli, which browsers take over TLS and from this machine.
fn compress_more(content: &[u8], target: &Path) -> Result<(), Box<dyn Error>> {
    let text = BrotliEncoderParams {
        mode: BrotliEncoderMode::BROTLI_MODE_TEXT,
        size_hint: content.len(),
        ..BrotliEncoderParams::default()
    };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut &content[..], &mut compressed, &text)?;
    fs::write(target, compressed)?;
    Ok(())
}
