//! Rust source as tokens: what comments and strings say does not count, what macros hold does.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One token with what a check asks about it.
pub(crate) struct Token<'a> {
    pub(crate) tree: &'a TokenTree,
    /// The tokens after it, in the same group.
    pub(crate) rest: &'a [TokenTree],
    /// Inside a test, or a module of tests.
    pub(crate) in_test: bool,
}

impl Token<'_> {
    pub(crate) fn line(&self) -> usize {
        self.tree.span().start().line
    }

    pub(crate) fn is_ident(&self, name: &str) -> bool {
        matches!(self.tree, TokenTree::Ident(ident) if ident == name)
    }

    /// Whether this is `name!`.
    pub(crate) fn is_macro(&self, name: &str) -> bool {
        self.is_ident(name)
            && matches!(self.rest.first(), Some(TokenTree::Punct(p)) if p.as_char() == '!')
    }

    /// Whether this is `name(`.
    pub(crate) fn is_call(&self, name: &str) -> bool {
        self.is_ident(name)
            && matches!(self.rest.first(), Some(tree) if is_group(tree, Delimiter::Parenthesis))
    }

    /// The text of the attribute that starts here, without spaces: `cfg(test)`.
    pub(crate) fn attribute(&self) -> Option<String> {
        let hash = matches!(self.tree, TokenTree::Punct(p) if p.as_char() == '#');
        match self.rest.first() {
            Some(TokenTree::Group(group)) if hash && group.delimiter() == Delimiter::Bracket => {
                Some(group.stream().to_string().replace(' ', ""))
            }
            _ => None,
        }
    }
}

/// Visits every token of a file; `whole_is_test` when the file holds nothing but tests.
///
/// # Errors
/// When it is not Rust.
pub(crate) fn visit(
    text: &str,
    whole_is_test: bool,
    mut see: impl FnMut(&Token),
) -> Result<(), String> {
    let stream = TokenStream::from_str(text).map_err(|e| format!("is not Rust: {e}"))?;
    walk(stream, whole_is_test, &mut see);
    Ok(())
}

fn walk(stream: TokenStream, in_test: bool, see: &mut impl FnMut(&Token)) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    // Set by `#[test]` or `#[cfg(test)]` until the braces of what it stands before.
    let mut next_is_test = false;
    for (index, tree) in trees.iter().enumerate() {
        let token = Token { tree, rest: &trees[index + 1..], in_test };
        see(&token);
        if token.attribute().is_some_and(|text| text == "test" || text == "cfg(test)") {
            next_is_test = true;
        }
        match tree {
            TokenTree::Group(group) => {
                walk(group.stream(), in_test || next_is_test, see);
                next_is_test &= group.delimiter() != Delimiter::Brace;
            }
            TokenTree::Punct(p) if p.as_char() == ';' => next_is_test = false,
            _ => {}
        }
    }
}

fn is_group(tree: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(tree, TokenTree::Group(group) if group.delimiter() == delimiter)
}
