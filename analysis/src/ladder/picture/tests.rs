//! What is in the document, by a parser of XML.

use roxmltree::Document;

use super::{
    super::samples::{cure, extreme, fault},
    *,
};

const NAMESPACE: &str = "http://www.w3.org/2000/svg";

fn texts<'a>(document: &'a Document<'_>, class: &str) -> Vec<&'a str> {
    document
        .descendants()
        .filter(|node| node.has_tag_name((NAMESPACE, "text")))
        .filter(|node| node.attribute("class") == Some(class))
        .filter_map(|node| node.text())
        .map(str::trim)
        .collect()
}

fn count(document: &Document<'_>, class: &str) -> usize {
    let elements = document.descendants();
    elements
        .filter(|node| node.attribute("class") == Some(class))
        .count()
}

#[test]
fn the_fault_and_the_reset_are_drawn_with_what_there_is_to_say() {
    let drawn = fault().svg();
    let document = Document::parse(&drawn).unwrap();
    assert_eq!(texts(&document, "label fault"), ["[ACK] Seq=14 Ack=33306"]);
    assert_eq!(texts(&document, "label reset"), ["[RST] Seq=33306"]);
    assert_eq!(
        texts(&document, "note fault"),
        ["spurious: nothing was said since frame 54"]
    );
    let [fault, reset] = ["head fault", "head reset"].map(|class| count(&document, class));
    assert_eq!((fault, reset), (1, 1));
    assert_eq!(count(&document, "shaft fault end"), 0);
    assert!(texts(&document, "number").contains(&"203.0.113.2:80"));
    assert!(texts(&document, "number").contains(&"0.202377"));
}

#[test]
fn what_does_not_arrive_ends_in_a_cross() {
    let drawn = cure().svg();
    let document = Document::parse(&drawn).unwrap();
    assert_eq!(count(&document, "head fault"), 0);
    assert_eq!(count(&document, "shaft fault end"), 2);
    assert_eq!(count(&document, "shaft end"), 2);
    assert_eq!(texts(&document, "label reset"), Vec::<&str>::new());
}

#[test]
fn foreign_text_is_text_and_nothing_else() {
    let drawn = extreme().svg();
    let document = Document::parse(&drawn).unwrap();
    let element = |name| {
        let mut children = document.root_element().children();
        children.find(|node| node.has_tag_name((NAMESPACE, name)))
    };
    let title = element("title").and_then(|title| title.text()).unwrap();
    assert!(title.trim().starts_with("<b>&\"'�[31m]]>�x"), "{title}");
    assert!(!document.descendants().any(|node| node.has_tag_name("b")));
    let description = element("desc").and_then(|desc| desc.text()).unwrap();
    assert!(description.contains("</svg> & �[2J"), "{description}");
}

#[test]
fn all_is_within_the_picture() {
    for ladder in [fault(), cure(), extreme()] {
        let drawn = ladder.svg();
        let document = Document::parse(&drawn).unwrap();
        let root = document.root_element();
        for (names, size) in [(["x", "x1", "x2"], "width"), (["y", "y1", "y2"], "height")] {
            let number = |text: &str| text.parse::<f64>().unwrap();
            let size = number(root.attribute(size).unwrap());
            for node in root.descendants() {
                for name in names {
                    let at = node.attribute(name).map(number);
                    assert!(at.is_none_or(|at| at >= 0.0 && at <= size), "{node:?}");
                }
            }
        }
    }
}

#[test]
fn the_same_ladders_give_the_same_octets() {
    let ladders = [fault(), cure()];
    assert_eq!(draw(&ladders), draw(&ladders.clone()));
}

#[test]
fn ladders_are_drawn_one_below_the_other() {
    let drawn = draw(&[fault(), cure()]);
    let document = Document::parse(&drawn).unwrap();
    assert_eq!(
        texts(&document, "title"),
        [fault().title.as_str(), cure().title.as_str()]
    );
    assert_eq!(texts(&document, "side").len(), 4);
    let height = |drawn: &str| {
        let document = Document::parse(drawn).unwrap();
        let height = document.root_element().attribute("height");
        height.unwrap().parse::<f64>().unwrap()
    };
    let least = height(&fault().svg()) + height(&cure().svg()) - 2.0 * MARGIN;
    assert!(height(&drawn) > least, "one is on the other");
}
