from textwrap import dedent

from inline_snapshot import snapshot

from tests.fakes.markdown import cut, lasting, render


def shown(text: str, width: int = 60, *, colour: bool = False) -> str:
    """What a person sees, framed by line ends; streamed in small pieces."""
    return "\n" + lasting(render(cut(dedent(text), 3, 5), width, colour=colour))


def test_steps_with_code_in_nested_lists() -> None:
    answer = """\
        To install it:

        1. **Clone** the repository:
           ```bash
           git clone https://example.org/it.git
           cd it
           ```
        2. Build it, which takes a while because everything is compiled from its sources:

           * with `make`
             1. for Linux
             2. for macOS

           * or with `cmake`:

             ```cmake
             project(it)

             add_executable(it main.c)
             ```

        10. Run it
           - this is indented by three columns only
           - and so is this

        That is all!
        """
    assert shown(answer) == snapshot("""\

To install it:

1. **Clone** the repository:
```bash
git clone https://example.org/it.git
cd it
```
2. Build it, which takes a while because everything is
   compiled from its sources:

   - with `make`
     1. for Linux
     2. for macOS

   - or with `cmake`:

```cmake
project(it)

add_executable(it main.c)
```

10. Run it
    - this is indented by three columns only
    - and so is this

That is all!
""")


def test_carelessly_indented_code_stays_code() -> None:
    answer = """\
        1. Write:
           ```python
        def f():
            return 1
           ```
        2. Run.
        """
    assert shown(answer) == snapshot("""\

1. Write:
```python
def f():
    return 1
```
2. Run.
""")


def test_a_table_between_text() -> None:
    answer = """\
        Here they are:
        | Model | Size (GiB) | Notes |
        |:------|-----------:|:-----:|
        | Mixtral 8x7B | 26.4 | **sparse**, two of eight experts for a token |
        | 模型 | 4 | `a \\| b` |
        | one cell |
        The table is over.
        """
    assert shown(answer) == snapshot("""\

Here they are:
Model        │ Size (GiB) │              Notes
─────────────┼────────────┼─────────────────────────────────
Mixtral 8x7B │       26.4 │ **sparse**, two of eight experts
             │            │           for a token
─────────────┼────────────┼─────────────────────────────────
模型         │          4 │             `a | b`
─────────────┼────────────┼─────────────────────────────────
one cell     │            │
The table is over.
""")
    assert shown(answer, 40) == snapshot("""\

Here they are:
Model      │      Size │      Notes
           │     (GiB) │
───────────┼───────────┼────────────────
Mixtral    │      26.4 │ **sparse**, two
8x7B       │           │    of eight
           │           │  experts for a
           │           │      token
───────────┼───────────┼────────────────
模型       │         4 │     `a | b`
───────────┼───────────┼────────────────
one cell   │           │
The table is over.
""")
    assert shown(answer, 20) == snapshot("""\

Here they are:
Model: Mixtral 8x7B
Size (GiB): 26.4
Notes: **sparse**,
two of eight experts
for a token

Model: 模型
Size (GiB): 4
Notes: `a | b`

Model: one cell
Size (GiB):
Notes:
The table is over.
""")


def test_what_only_looks_like_a_table() -> None:
    answer = """\
        | a | b |
        | c | d |

        x | y
        --- | ---
        1 | 2
        3 | 4

        |norm|
        """
    assert shown(answer) == snapshot("""\

| a | b |
| c | d |

x | y
--- | ---
1 | 2
3 | 4

|norm|
""")


def test_headings_quotes_and_rules() -> None:
    answer = """\
        # Title #
        Text right below.
        ### A *third* level
        Old style
        =========
        Another
        ---
        > He said:
        > > "Never again, and certainly not on a terminal that is so narrow that this has to be wrapped."
        >
        > - a point
        lazily continued

        ***
        #hashtag and 7. no list, 1986. A year.
        """
    assert shown(answer) == snapshot("""\

# Title
Text right below.
### A *third* level
Old style
=========
Another
───
> He said:
> > "Never again, and certainly not on a terminal that is so
> > narrow that this has to be wrapped."
>
> - a point
>   lazily continued

───
#hashtag and 7. no list, 1986. A year.
""")
    assert shown(answer, colour=True) == snapshot("""\

\x1b[2m#\x1b[0m \x1b[1mTitle\x1b[0m
Text right below.
\x1b[2m###\x1b[0m \x1b[1mA\x1b[0m \x1b[1;3mthird\x1b[0m \x1b[1mlevel\x1b[0m
Old style
\x1b[2m=========\x1b[0m
Another
\x1b[2m────────────────────────\x1b[0m
\x1b[2m│ \x1b[0mHe said:
\x1b[2m│ \x1b[0m\x1b[2m│ \x1b[0m"Never again, and certainly not on a terminal that is so
\x1b[2m│ \x1b[0m\x1b[2m│ \x1b[0mnarrow that this has to be wrapped."
\x1b[2m│\x1b[0m
\x1b[2m│ \x1b[0m• a point
\x1b[2m│ \x1b[0m  lazily continued

\x1b[2m────────────────────────\x1b[0m
#hashtag and 7. no list, 1986. A year.
""")


def test_inline_marks() -> None:
    answer = """\
        **bold**, __bold__, *italic*, _italic_, ***both***, ~~gone~~, `code`, ``a ` b``, **bold *and* italic**

        snake_case_name, 2 * 3 * 4, 5*6*7, ~5 MB, **unclosed, a * b, \\*escaped\\*, C:\\dir, &lt;tag&gt; &copy; &nope;

        [text](https://example.org/a_(b)_c "Title"), ![alt](x.png), [https://a.b](https://a.b), <https://c.d/_e_>

        [not](a link because of blanks), [x] done, [0, 1), [ref][1], [^1], a[i](b c, <b>bold</b>, `un
        closed
        """
    assert shown(answer) == snapshot("""\

**bold**, __bold__, *italic*, _italic_, ***both***,
~~gone~~, `code`, ``a ` b``, **bold *and* italic**

snake_case_name, 2 * 3 * 4, 5*6*7, ~5 MB, **unclosed, a * b,
*escaped*, C:\\dir, <tag> © &nope;

text (https://example.org/a_(b)_c "Title"), alt (x.png),
https://a.b, <https://c.d/_e_>

[not](a link because of blanks), [x] done, [0, 1), [ref][1],
[^1], a[i](b c, <b>bold</b>, `un closed
""")
    assert shown(answer, 24, colour=True) == snapshot("""\

\x1b[1mbold\x1b[0m, \x1b[1mbold\x1b[0m, \x1b[3mitalic\x1b[0m,
\x1b[3mitalic\x1b[0m, \x1b[1;3mboth\x1b[0m, \x1b[9mgone\x1b[0m,
\x1b[36mcode\x1b[0m, \x1b[36ma\x1b[0m \x1b[36m`\x1b[0m \x1b[36mb\x1b[0m, \x1b[1mbold\x1b[0m \x1b[1;3mand\x1b[0m
\x1b[1mitalic\x1b[0m

snake_case_name, 2 * 3 *
4, 5\x1b[3m6\x1b[0m7, ~5 MB,
**unclosed, a * b,
*escaped*, C:\\dir, <tag>
© &nope;

text
(\x1b[4mhttps://example.org/a_(b\x1b[0m\x1b[4m)\x1b[0m\x1b[4m_\x1b[0m\x1b[4mc\x1b[0m "Title"), alt
(\x1b[4mx.png\x1b[0m), \x1b[4mhttps://a.b\x1b[0m,
<https://c.d/_e_>

[not](a link because of
blanks), [x] done, [0,
1), [ref][1], [^1],
a[i](b c, <b>bold</b>,
`un closed
""")


def test_what_models_print_by_mistake_is_literal() -> None:
    answer = "[/INST] [bold]x[/bold] [/foo] <think>hm</think> <|im_end|> </s> {{ x }} %s $HOME\n"
    assert shown(answer, 200) == "\n" + answer
    assert shown(answer, 200, colour=True) == "\n" + answer


def test_a_poem_keeps_its_lines_and_wrapped_prose_does_not() -> None:
    answer = """\
        An old silent pond
        A frog jumps into the pond
        Splash! Silence again

        This prose was wrapped by hand at seventy columns, as some models do
        it because they have read so many old text files that they think it
        is right.

        Hard\\
        breaks too, with two blanks here: \x20
        done
        """
    assert shown(answer, 50) == snapshot("""\

An old silent pond
A frog jumps into the pond
Splash! Silence again

This prose was wrapped by hand at seventy columns,
as some models do it because they have read so
many old text files that they think it is right.

Hard
breaks too, with two blanks here:
done
""")


def test_cut_off_in_the_middle() -> None:
    assert shown("```python\nx = 1\ny = ") == snapshot("""\

```python
x = 1
y = \n\
```
""")
    assert shown("Text with **an open") == snapshot("""\

Text with **an open
""")
    assert shown("| a | b |\n|---|---|\n| 1 |") == snapshot("""\

a │ b
──┼──
1 │
""")
    assert shown("| a | b |\n|--") == snapshot("""\

a │ b
──┼──
""")
    assert shown("- item\n- ") == snapshot("""\

- item
-
""")
    assert shown("[text](http://exa") == snapshot("""\

[text](http://exa
""")
    assert shown("> ```\n> code\nno longer") == snapshot("""\

> ```
> code
> ```
no longer
""")


def test_code_is_printed_as_it_is() -> None:
    answer = 'Makefile:\n\n```make title="x"\nall:\n\techo  "a"   \n\n\n```\n~~~\n``` **x**\n~~~\n'
    answer += "\n    four blanks\n\n    more\n"
    assert shown(answer) == snapshot("""\

Makefile:

```make title="x"
all:
	echo  "a"   \n\


```
~~~
``` **x**
~~~

    four blanks

    more
""")


def test_highlighting_goes_over_lines() -> None:
    answer = (
        '```python\ndef f():\n    """Doc\n    string."""\n    return 1  # one\n```\n```c\n/* a\n b */ int x;\n```\n'
    )
    assert shown(answer, colour=True) == snapshot('''\

\x1b[2m```python\x1b[0m
\x1b[35mdef\x1b[0m \x1b[1mf\x1b[0m():
    \x1b[32m"""Doc\x1b[0m
\x1b[32m    string."""\x1b[0m
    \x1b[35mreturn\x1b[0m \x1b[36m1\x1b[0m  \x1b[2m# one\x1b[0m
\x1b[2m```\x1b[0m
\x1b[2m```c\x1b[0m
\x1b[2m/* a\x1b[0m
\x1b[2m b */\x1b[0m \x1b[35mint\x1b[0m x;
\x1b[2m```\x1b[0m
''')


def test_carriage_returns_before_line_ends_go() -> None:
    assert shown("a\r\n\r\n- b\r\n```\r\nc\r\n```\r\nd\re\r") == snapshot("""\

a

- b
```
c
```
d␍e␍
""")


def test_wide_characters_are_wrapped_between_words_or_characters() -> None:
    answer = "混合专家模型【MoE】为每个标记选择两个专家。It is fast 🎉🎉 indeed 👩\u200d💻👍🏽!\n"
    assert shown(answer, 20) == snapshot("""\

混合专家模型【MoE】
为每个标记选择两个专
家。It is fast 🎉🎉
indeed 👩\u200d💻👍🏽!
""")


def test_narrow_terminals() -> None:
    answer = "1. A *long* word: incomprehensibilities\n   - nested `code span`\n\n"
    answer += "| a | b |\n|---|---|\n| one | two three |\n"
    assert shown(answer, 12) == snapshot("""\

1. A *long*
   word:
   incomprehensibilities
   - nested
     `code
     span`

a   │ b
────┼───────
one │ two
    │ three
""")
    assert shown(answer, 4) == snapshot("""\

1. A
*long*
word:
incomprehensibilities
- nested
`code
span`

a:
one
b:
two
three
""")


def test_a_terminal_without_line_drawing() -> None:
    answer = "- a\n> b\n\n| a | b |\n|---|---|\n| c | d |\n\n---\n"
    assert "\n" + lasting(render(answer, colour=True, locale="C")) == snapshot("""\

- a
\x1b[2m> \x1b[0mb

\x1b[1ma\x1b[0m \x1b[2m|\x1b[0m \x1b[1mb\x1b[0m
\x1b[2m--+--\x1b[0m
c \x1b[2m|\x1b[0m d

\x1b[2m------------------------\x1b[0m
""")


def test_words_too_wide_for_their_column_are_broken() -> None:
    answer = "| Name | Where |\n|:---:|---|\n| x | https://example.org/a/very/long/path |\n| incomprehensible | y |\n"
    assert shown(answer, 33) == snapshot("""\

     Name       │ Where
────────────────┼────────────────
       x        │ https://example
                │ .org/a/very/lon
                │ g/path
────────────────┼────────────────
incomprehensibl │ y
       e        │
""")


def test_code_in_a_list_indented_with_tabs() -> None:
    assert shown("- a\n\n\t```make\n\tall:\n\t\techo\n\t```\n\tafter\n\n\tindented? no\n") == snapshot("""\

- a

```make
all:
	echo
```
  after

  indented? no
""")


def test_headings_keep_what_is_not_a_closing_mark() -> None:
    assert shown("## C# and F# ##\n# # x # y ###  \n####### seven\n#\n") == snapshot("""\

## C# and F#
# # x # y
####### seven
#
""")


def test_items_that_begin_with_something_else_than_text() -> None:
    answer = "- ```\n  code\n  ```\n- > quote\n- # heading\n- - 1. deep\n- | a |\n  |---|\n  | b |\n-\n-     indented\n"
    assert shown(answer) == snapshot("""\

-
```
code
```
- > quote
- # heading
- - 1. deep
- a
  ─
  b
-
-
    indented
""")


def test_a_table_without_a_first_head() -> None:
    assert shown("||Size|\n|-|-:|\n|a|1|\n", 40) == snapshot("""\

  │ Size
──┼─────
a │    1
""")
    assert shown("||Size|\n|-|-:|\n|abc|123|\n", 5) == snapshot("""\

abc
Size:
123
""")
