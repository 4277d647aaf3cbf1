//! The functions of a source file, with the length of their bodies.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// `Type::name` in an impl or a trait, else `name`.
    pub(crate) name: String,
    pub(crate) line: usize,
    /// Lines between the braces.
    pub(crate) length: usize,
}

/// The functions of a Rust file; those that a macro makes are not seen.
pub(crate) fn rust(text: &str) -> Result<Vec<Function>, String> {
    let file = syn::parse_file(text).map_err(|e| format!("is not Rust: {e}"))?;
    let mut visitor = Visitor { owner: None, found: Vec::new() };
    visitor.visit_file(&file);
    Ok(visitor.found)
}

struct Visitor {
    owner: Option<String>,
    found: Vec<Function>,
}

impl Visitor {
    fn add(&mut self, name: &syn::Ident, body: &syn::Block) {
        let braces: Span = body.span();
        let length = (braces.end().line - braces.start().line).saturating_sub(1);
        let name = match &self.owner {
            Some(owner) => format!("{owner}::{name}"),
            None => name.to_string(),
        };
        self.found.push(Function { name, line: braces.start().line, length });
    }

    fn inside(&mut self, owner: Option<String>, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.owner, owner);
        visit(self);
        self.owner = outer;
    }
}

impl<'a> Visit<'a> for Visitor {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.inside(None, |visitor| {
            visitor.add(&item.sig.ident, &item.block);
            visit::visit_item_fn(visitor, item);
        });
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        let owner = match item.self_ty.as_ref() {
            syn::Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        self.inside(owner, |visitor| visit::visit_item_impl(visitor, item));
    }

    fn visit_item_trait(&mut self, item: &'a syn::ItemTrait) {
        let owner = Some(item.ident.to_string());
        self.inside(owner, |visitor| visit::visit_item_trait(visitor, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.add(&item.sig.ident, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(&item.sig.ident, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// The functions of a C file in the kernel's style: the braces of a body, and only those, are alone
/// in the first column.
pub(crate) fn c(text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut open = None;
    for (index, line) in lines.iter().enumerate() {
        if *line == "{" {
            open = Some(index);
        } else if line.starts_with('}')
            && let Some(start) = open.take()
        {
            let name = c_name(&lines[..start]).unwrap_or("?").to_owned();
            found.push(Function { name, line: start + 1, length: index - start - 1 });
        }
    }
    found
}

/// The word before the first parenthesis of the signature that ends here.
fn c_name<'a>(before: &[&'a str]) -> Option<&'a str> {
    let ends = |line: &&&str| {
        line.is_empty()
            || line.ends_with([';', '}', '/'])
            || line.starts_with(['#', '/'])
            || line.starts_with("SEC(")
    };
    let signature = before.iter().rev().take_while(|line| !ends(line));
    let first = signature
        .filter(|line| line.contains('(') && !line.starts_with(char::is_whitespace))
        .last()?;
    first.split('(').next()?.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_functions_are_named_with_their_type() {
        let text = "fn a() {\n 1;\n 2;\n}\nimpl x::T<u8> {\n fn b() {}\n}\ntrait U {\n fn c();\n fn d() {\n }\n}\n\
                    mod m {\n fn e() { fn f() {\n\n} }\n}\n";
        let found: Vec<_> =
            rust(text).expect("parses").into_iter().map(|f| (f.name, f.length)).collect();
        let expected = [("a", 2), ("T::b", 0), ("U::d", 0), ("e", 1), ("f", 1)];
        assert_eq!(found, expected.map(|(name, length)| (name.to_owned(), length)));
        assert!(rust("fn (").is_err());
    }

    #[test]
    fn c_functions_in_the_kernels_style() {
        let text = "struct a {\n\tint b;\n};\n\nstatic __always_inline struct a *one(int b,\n\t\t\t\t int (*c)(int))\n{\n\
                    \tif (b) {\n\t\treturn;\n\t}\n}\n\nSEC(\"cgroup/connect4\")\nint two(void *ctx)\n{\n}\n";
        let found = c(text);
        let expected = [("one", 7, 3), ("two", 15, 0)];
        let expected =
            expected.map(|(name, line, length)| Function { name: name.to_owned(), line, length });
        assert_eq!(found, expected);
    }
}
