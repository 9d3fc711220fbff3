//! Pictures are well-formed, show each node once, and survive any name.

use super::*;
use crate::array::{Array, Block, BlockInfo, BlockKind, BlockMap, DType, random};
use crate::runtime::Cluster;

fn cluster() -> Cluster {
    Cluster::builder().allowance(ByteSize(16 << 20)).workers(1).build().expect("sound settings")
}

/// Walks through the text: every tag is closed in order, every attribute quoted, every entity known. Returns the tags' names.
fn tags(svg: &str) -> Vec<String> {
    let (mut open, mut seen): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>'), "{text}");
        for entity in text.split('&').skip(1) {
            let known = ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|known| entity.starts_with(known));
            assert!(known, "{entity}");
        }
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        let name = tag.split([' ', '/']).next().expect("a tag has a name");
        assert_eq!(tag.matches('"').count(), 2 * tag.matches('=').count(), "{tag}");
        assert!(!tag.contains("NaN") && !tag.contains("inf"), "{tag}");
        seen.push(name.to_owned());
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    seen
}

fn groups(svg: &str) -> usize {
    tags(svg).iter().filter(|tag| *tag == "g").count()
}

fn named(input: &Array, name: &str) -> Array {
    let same = |block: Block, _: BlockInfo| Ok(block);
    let map = BlockMap::new(name, input.cols(), DType::F64, BlockKind::Dense, same);
    input.map_blocks(map).expect("dense")
}

#[test]
fn a_picture_has_a_box_for_each_node_and_the_plans_figures() {
    let cluster = cluster();
    let x = random::uniform(100_000, 50, 1, 10_000);
    let diamond = x.square().add(x.log1p()).expect("one shape");
    let plan = diamond.plan(&cluster).expect("fits");
    let svg = plan.to_svg();
    assert_eq!(groups(&svg), 4);
    assert_eq!(svg.matches("class=\"edge\"").count(), 4);
    for words in ["random", "100,000 × 50 float64 dense", "10 tasks in 1 pass", "blocks of 10,000 × 50", "of 16.0 MiB"]
    {
        assert!(svg.contains(words), "{words}: {svg}");
    }
    assert_eq!(svg, diamond.plan(&cluster).expect("fits").to_svg(), "the same plan, the same text");
    let stored = x.select_rows(0..10_000).expect("there").persist(&cluster).expect("small");
    let svg = stored.plan(&cluster).expect("fits").to_svg();
    assert!(svg.contains("chunks of 10,000 × 50") && svg.contains("class=\"chunks result\""));
}

#[test]
fn names_are_escaped_and_shortened() {
    let x = random::uniform(10, 2, 1, None);
    let vicious = format!("</text><script>alert('&\"')</script>\u{0}{}", "very long ".repeat(500));
    let svg = named(&x, &vicious).plan(&cluster()).expect("small").to_svg();
    assert_eq!(groups(&svg), 2);
    assert!(!tags(&svg).iter().any(|tag| tag == "script"));
    assert!(svg.contains('…') && svg.contains("&lt;script&gt;"), "shortened, and in full in the tooltip");
}

#[test]
fn anything_can_be_drawn() {
    let cluster = cluster();
    let x = random::uniform(6, 2, 1, None);
    let stack: Vec<Array> = (0..20).map(|seed| random::uniform(5, 2, seed, None)).collect();
    let mut deep = x.clone();
    for _ in 0..100 {
        deep = deep.log1p();
    }
    let none = random::uniform(0, 0, 1, None);
    let cases = [
        (x.clone(), 1),
        (Array::vstack(&stack).expect("one width"), 21),
        (deep.add(&x).expect("one shape"), 102),
        (none.plan(&cluster).map(|_| none).expect("nothing"), 1),
    ];
    for (array, nodes) in cases {
        assert_eq!(groups(&array.plan(&cluster).expect("fits").to_svg()), nodes);
    }
}

#[test]
fn what_was_measured_stands_beside_what_was_projected() {
    let cluster = cluster();
    let x = random::uniform(1000, 50, 1, 100);
    let plan = x.plan(&cluster).expect("fits");
    x.compute(&cluster).expect("fits");
    let report = cluster.runs().pop().expect("one run");
    let svg = plan.compare(&report).to_svg();
    assert!(groups(&svg) == 1 && svg.contains("measured peak") && svg.contains("10 tasks in "), "{svg}");
}
