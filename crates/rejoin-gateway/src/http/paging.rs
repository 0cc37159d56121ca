//! Lists in pages: each begins after what the page before ended with.

/// The first items of a list, and what the next page is asked for with, if there is one.
pub(super) fn page<T, C>(
    items: impl IntoIterator<Item = T>,
    limit: usize,
    cursor: impl Fn(&T) -> C,
) -> (Vec<T>, Option<C>) {
    let mut items = items.into_iter();
    let page: Vec<T> = items.by_ref().take(limit).collect();
    let next = items.next().and_then(|_| page.last().map(cursor));
    (page, next)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_page_says_where_the_next_begins_if_there_is_one() {
        let page = |count, limit| super::page(0..count, limit, |item| *item);
        assert_eq!(page(0, 2), (vec![], None));
        assert_eq!(page(2, 2), (vec![0, 1], None));
        assert_eq!(page(3, 2), (vec![0, 1], Some(1)));
    }
}
