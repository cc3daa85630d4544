//! The keys of what a route changes of its messages.

use super::*;

/// `transform`.
pub(in crate::config) const TRANSFORM: &Keys = &Keys::new(
    "transform",
    &[
        key("envelope", Kind::Choice(&["none", "json"]), "`none`", "see [envelopes](#envelopes)"),
        key(
            "max_hops",
            Kind::Integer(1, 255),
            "`16`",
            "routes that a message may have been through before this one",
        ),
        key(
            "nsq_headers",
            Kind::Boolean,
            "`false`",
            "nsq → amqp: adds the headers `x-nsq-topic`, `x-nsq-channel`, `x-nsq-id`, `x-nsq-attempts` and \
             `x-nsq-timestamp` (nanoseconds)",
        ),
        key(
            "remove",
            Kind::Mapping(REMOVE),
            "",
            "see [transform.remove](#transformremove); it comes before `set`",
        ),
        key("set", Kind::Mapping(SET), "", "see [transform.set](#transformset)"),
    ],
);

/// `transform.set`.
pub(in crate::config) const SET: &Keys = &Keys::new(
    "transform.set",
    &[
        key(
            "headers",
            Kind::Named(&TEMPLATE),
            "",
            "names with their values, [templates](#templates) that give texts of up to 32 KiB. Names that begin \
             with `x-leveret-` are the route's own",
        ),
        key(
            "properties",
            Kind::Named(&TEMPLATE),
            "",
            "[properties](#properties-and-headers) with their values, [templates](#templates). What the property \
             cannot be makes a [dead letter](#dead_letter)",
        ),
    ],
);

/// `transform.remove`.
pub(in crate::config) const REMOVE: &Keys = &Keys::new(
    "transform.remove",
    &[
        key(
            "headers",
            Kind::List("list of texts, 1 to 255 bytes each", &SHORT_TEXT),
            "",
            "names; one that ends in `*` means all that begin so",
        ),
        key(
            "properties",
            Kind::List("list of names", &TEXT),
            "",
            "[properties](#properties-and-headers)",
        ),
    ],
);
