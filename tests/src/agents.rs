//! The pages of `docs/agents/` as tests use them: what a page tells a user to write is what the agent is started with.

use std::net::SocketAddr;

/// The address in the pages.
const ADDRESS: &str = "127.0.0.1:7744";

/// The first block of code below "Point it here" on an agent's page, with our address instead of the default one.
///
/// # Panics
/// If there is no such page, heading or block, or the block does not name the address.
pub fn settings(page: &str, address: SocketAddr) -> String {
    let path = crate::repository().join(format!("docs/agents/{page}.md"));
    let text =
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (_, below) = text
        .split_once("## Point it here\n")
        .expect("a page says how to point the agent here");
    let (_, block) = below.split_once("```").expect("a page has a block of code");
    let (_, block) = block.split_once('\n').expect("a block has lines");
    let (block, _) = block.split_once("```").expect("a block ends");
    assert!(
        block.contains(ADDRESS),
        "docs/agents/{page}.md does not name {ADDRESS}"
    );
    block.replace(ADDRESS, &address.to_string())
}
