//! Paged lists. Each page starts after the last item of the previous page.

/// Returns the first `limit` items, and the cursor of the next page if there is one.
pub(super) fn page<T, C>(
    items: impl IntoIterator<Item = T>,
    limit: usize,
    cursor: impl Fn(&T) -> C,
) -> (Vec<T>, Option<C>) {
    let mut items = items.into_iter();
    let page: Vec<T> = items.by_ref().take(limit).collect();
    // Looks for another item: a full page may still be the last one.
    let next = items.next().and_then(|_| page.last().map(cursor));
    (page, next)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_a_page_with_a_next_one_has_a_cursor() {
        let page = |count, limit| super::page(0..count, limit, |item| *item);
        assert_eq!(page(0, 2), (vec![], None));
        assert_eq!(page(2, 2), (vec![0, 1], None));
        assert_eq!(page(3, 2), (vec![0, 1], Some(1)));
    }
}
