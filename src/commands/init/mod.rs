//! `purgehook init`: writes a rules file for one site, and a file for its secrets.

mod answers;
mod ask;
mod detect;
mod env_file;
mod preset;
mod remote;
mod rules_file;

use std::fs::Permissions;
use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

pub use self::preset::{PRESETS, Preset};

use self::answers::{
    Answers, address, base_url, branch_named, cdn_named, folder_named, forge_named, preset_named,
    repo_named,
};
use self::ask::Asker;
use self::detect::Found;
use self::remote::Remote;
use super::git;
use crate::cdn;
use crate::clock::Clock;
use crate::config::{self, ALL_KINDS};
use crate::forge::{self, api_url, has_public_service};
use crate::http::Outbound;
use crate::settings::{Environment, Problems};

/// What the command line says. What it does not say is found in the working copy, or asked.
#[derive(Clone, Debug, Default, Args)]
pub struct Given {
    /// The kind of forge [default: that of the clone's remote]
    #[arg(long, value_name = "KIND")]
    pub forge: Option<String>,
    /// The repository, e.g. acme/website [default: that of the clone's remote]
    #[arg(long, value_name = "OWNER/NAME")]
    pub repo: Option<String>,
    /// The branch that is served [default: the remote's own; `gh-pages` for built files]
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// The API's address on a self-hosted forge, e.g. `https://git.example.com/api/v1` [default: on the remote's host]
    #[arg(long, value_name = "URL")]
    pub api_url: Option<String>,
    /// The kind of CDN
    #[arg(long, value_name = "KIND")]
    pub cdn: Option<String>,
    /// The site's generator: hugo, jekyll, ..., `plain` files or `built` ones [default: by the files that are here]
    #[arg(long, value_name = "NAME")]
    pub generator: Option<String>,
    /// The folder of the repository that the site is in [default: by the files that are here]
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<String>,
    /// Where the site is served, e.g. `https://www.example.com`
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Where browsers reach purgehook, e.g. `https://purge.example.com` [default: `PURGEHOOK_PUBLIC_URL`, when it serves]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Where to write rules.yaml and env
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Overwrite existing files; secrets in env stay
    #[arg(long)]
    pub force: bool,
}

/// Facts found in the working copy, which are used if the command line does not give them.
struct Seen {
    remote: Option<Remote>,
    branch: Option<String>,
    generator: Option<Found>,
}

/// Writes `rules.yaml` and `env`, and prints the next steps. Looks for the site in the working directory.
///
/// # Errors
///
/// A value is neither given nor found and cannot be asked for, or a file already exists.
pub fn run(given: &Given) -> anyhow::Result<ExitCode> {
    let here = Path::new(".");
    let seen = Seen {
        remote: git::remote(here).as_deref().and_then(Remote::parse),
        branch: git::branch(here),
        generator: detect::generator(here),
    };
    let (rules_path, env_path) = (given.dir.join(config::DEFAULT_PATH), given.dir.join("env"));
    for path in [&rules_path, &env_path] {
        if path.exists() && !given.force {
            bail!(
                "{} is there already: --force overwrites it, --dir writes elsewhere",
                path.display()
            );
        }
    }
    let answers = if stdin().is_terminal() && stderr().is_terminal() {
        let mut asker = Asker {
            input: stdin().lock(),
            output: stderr(),
        };
        answers(given, &seen, Some(&mut asker))?
    } else {
        answers(
            given,
            &seen,
            None::<&mut Asker<std::io::Empty, std::io::Sink>>,
        )?
    };

    let rules = rules_file::text(&answers);
    check(&rules, &answers)?;
    let before = match std::fs::read_to_string(&env_path) {
        Ok(before) => before,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", env_path.display()));
        }
    };
    let env = env_file::text(&answers, &env_file::secret()?, &before);
    std::fs::create_dir_all(&given.dir)
        .with_context(|| format!("cannot make {}", given.dir.display()))?;
    write(&rules_path, &rules, 0o644, given.force)?;
    write(&env_path, &env, 0o600, given.force)?;
    print!("{}", next(&answers, given, &env));
    Ok(ExitCode::SUCCESS)
}

/// All answers, in the order of the questions. If questions are impossible, uses what was found and reports
/// everything that is missing at once.
fn answers<I: BufRead, O: Write>(
    given: &Given,
    seen: &Seen,
    asker: Option<&mut Asker<I, O>>,
) -> anyhow::Result<Answers> {
    let mut source = Source {
        asker,
        missing: Vec::new(),
    };
    let kinds = |names: Vec<&str>| names.join(", ");
    let found = seen.generator.as_ref();
    let remote = seen.remote.as_ref();

    let presets = kinds(PRESETS.iter().map(|preset| preset.name).collect());
    let preset = source.value(
        "--generator",
        &format!("What the site is made with ({presets})"),
        given.generator.as_deref(),
        found.map(|found| found.preset.name),
        preset_named,
    )?;
    let is_found = found.is_some_and(|found| Some(found.preset) == preset);
    let folder = found
        .filter(|_| is_found)
        .map_or("", |found| found.folder.as_str());
    let folder = source.value(
        "--folder",
        "The folder of the repository that it is in",
        given.folder.as_deref(),
        Some(folder),
        folder_named,
    )?;
    let forge = source.value(
        "--forge",
        &format!(
            "The forge ({})",
            kinds(forge::KINDS.iter().map(|kind| kind.name).collect())
        ),
        given.forge.as_deref(),
        remote.and_then(Remote::kind),
        forge_named,
    )?;
    let repo = source.value(
        "--repo",
        "The repository",
        given.repo.as_deref(),
        remote.map(|remote| remote.path.as_str()),
        repo_named,
    )?;
    let api = api_url_of(given, remote, forge, &mut source)?;
    let built = preset.is_some_and(|preset| preset.name == "built");
    let branch = match seen.branch.as_deref() {
        _ if built => "gh-pages",
        Some(branch) => branch,
        None => "main",
    };
    let branch = source.value(
        "--branch",
        "The branch that is served",
        given.branch.as_deref(),
        Some(branch),
        branch_named,
    )?;
    let cdn = source.value(
        "--cdn",
        &format!(
            "The CDN ({})",
            kinds(cdn::KINDS.iter().map(|kind| kind.name).collect())
        ),
        given.cdn.as_deref(),
        None,
        cdn_named,
    )?;
    let base_url = source.value(
        "--base-url",
        "Where the site is served",
        given.base_url.as_deref(),
        None,
        base_url,
    )?;
    let public_url = source.value(
        "--public-url",
        "Where browsers reach purgehook, for links in statuses",
        given.public_url.as_deref(),
        Some(""),
        address,
    )?;
    let all = (
        forge, repo, branch, cdn, preset, folder, base_url, public_url,
    );
    let (
        Some(forge),
        Some(repo),
        Some(branch),
        Some(cdn),
        Some(preset),
        Some(folder),
        Some(base_url),
        Some(public_url),
    ) = all
    else {
        bail!(
            "nothing says {}, and standard input is no terminal to ask on",
            source.missing.join(", ")
        );
    };
    Ok(Answers {
        forge,
        repo,
        branch,
        api_url: api,
        cdn,
        preset,
        folder,
        base_url,
        public_url,
    })
}

/// The address of the API of a self-hosted forge.
fn api_url_of<I: BufRead, O: Write>(
    given: &Given,
    remote: Option<&Remote>,
    forge: Option<&forge::ForgeKind>,
    source: &mut Source<'_, I, O>,
) -> anyhow::Result<Option<String>> {
    let Some(forge) = forge else { return Ok(None) };
    let likely = remote.and_then(|remote| api_url(forge.name, &remote.host));
    let is_ours = remote.is_some_and(|remote| remote.kind().is_none_or(|kind| kind == forge.name));
    let likely = likely.filter(|_| is_ours);
    if given.api_url.is_none() && likely.is_none() && has_public_service(forge.name) {
        return Ok(None);
    }
    source.value(
        "--api-url",
        "Where the forge's API is",
        given.api_url.as_deref(),
        likely.as_deref(),
        address,
    )
}

/// The source of answers that the command line does not give.
struct Source<'a, I, O> {
    asker: Option<&'a mut Asker<I, O>>,
    /// Flags that are required but missing.
    missing: Vec<&'static str>,
}

impl<I: BufRead, O: Write> Source<'_, I, O> {
    /// A value from its flag, an answer, or the working copy. None if there is none, which is recorded.
    fn value<T>(
        &mut self,
        flag: &'static str,
        question: &str,
        given: Option<&str>,
        found: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<Option<T>> {
        let wrong = |why: String| anyhow::anyhow!("{flag}: {why}");
        match (given, &mut self.asker, found) {
            (Some(given), _, _) => read(given).map(Some).map_err(wrong),
            (None, Some(asker), found) => asker.ask(question, found, read).map(Some),
            (None, None, Some(found)) => read(found).map(Some).map_err(wrong),
            (None, None, None) => {
                self.missing.push(flag);
                Ok(None)
            }
        }
    }
}

/// Checks that the file passes `check` once all secrets are set.
fn check(rules: &str, answers: &Answers) -> anyhow::Result<()> {
    let variables = answers
        .entries()
        .into_iter()
        .flat_map(|entry| entry.variables);
    // Any long value works.
    let set: Vec<(&str, &str)> = variables
        .map(|variable| (variable.name, "9f2c41d7e80b5a63c1d94e7f02ab8836"))
        .collect();
    let outbound = Outbound::new(Clock::system())?;
    let loaded = config::read(
        config::DEFAULT_PATH,
        rules,
        Environment::of(set),
        &outbound,
        ALL_KINDS,
    );
    if let Err(problems) = loaded {
        eprintln!("{}", problems.render(Problems::colours_wanted()));
        bail!("these answers do not come to a rules file that can be used; nothing was written");
    }
    Ok(())
}

/// Writes a complete file or none. The file must not exist unless `overwrite`.
fn write(path: &Path, text: &str, mode: u32, overwrite: bool) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", path.display());
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(path.parent().unwrap_or(Path::new(".")))
        .with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)?;
    let kept = if overwrite {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    kept.map(drop)
        .map_err(|error| error.error)
        .with_context(context)
}

/// What was done, and the next steps.
fn next(answers: &Answers, given: &Given, env: &str) -> String {
    let forge = answers.forge.name;
    let host = match answers.public_url.as_str() {
        "" => "https://HOST",
        url => url,
    };
    let secret = answers.forge.entry.variables.first();
    let secret = secret.map_or("the secret", |variable| variable.name);
    let fill_in = match env_file::empty(env).join(", ") {
        empty if empty.is_empty() => "All secrets are in env.".to_owned(),
        empty => format!("Fill in env, which says where to get each: {empty}."),
    };
    let env_path = given.dir.join("env");
    let keep_out = if git::would_commit(&given.dir, Path::new("env")) {
        " Keep env out of git."
    } else {
        ""
    };
    let at = match given.dir.as_os_str() {
        here if here == "." => String::new(),
        _ => format!("cd {}; ", given.dir.display()),
    };
    format!(
        "Wrote {} and {}: {forge}:{}, {}, rules for {}.\n\
         1. {fill_in}{keep_out}\n\
         2. {at}set -a; . ./env; set +a; purgehook check --strict\n\
         3. purgehook serve, behind something that speaks HTTPS.\n\
         4. At the forge, add a webhook for {host}/hooks/{forge} (application/json) with the secret {secret} of env.\n",
        given.dir.join(config::DEFAULT_PATH).display(),
        env_path.display(),
        answers.repo,
        answers.cdn.name,
        answers.preset.title,
    )
}
