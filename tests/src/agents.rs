//! The pages of `docs/agents/` as tests use them: what a page tells a user to write is what the agent is started with.

/// The first block of code below "Point it here" on an agent's page, with each default replaced by what the test has instead.
///
/// # Panics
/// If there is no such page, heading or block, or the block lacks one of the defaults.
pub fn settings(page: &str, replacements: &[(&str, String)]) -> String {
    let path = crate::repository().join(format!("docs/agents/{page}.md"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (_, below) = text
        .split_once("## Point it here\n")
        .expect("a page says how to point the agent here");
    let (_, block) = below.split_once("```").expect("a page has a block of code");
    let (_, block) = block.split_once('\n').expect("a block has lines");
    let (block, _) = block.split_once("```").expect("a block ends");
    let mut block = block.to_owned();
    for (default, instead) in replacements {
        assert!(
            block.contains(default),
            "docs/agents/{page}.md does not name `{default}`"
        );
        block = block.replace(default, instead);
    }
    block
}
