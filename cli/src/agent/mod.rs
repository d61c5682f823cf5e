//! How an agent is configured: flags, files, their merging, the checks before the start, and what it says then.

mod banner;
mod config;
pub(crate) mod config_file;
mod flags;
pub(crate) mod kept;
mod plan;
mod settings;

pub(crate) use self::banner::banner;
pub(crate) use self::config::{AgentConfig, ConfigError};
pub(crate) use self::flags::{AgentFlags, tag_pair};
pub(crate) use self::kept::{Kept, TAGS_TWICE, encode_keys, encode_tags};
pub(crate) use self::plan::{StartPlan, log_level};
