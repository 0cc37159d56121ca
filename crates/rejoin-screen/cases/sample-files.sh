# Creates the sample files that the recorded programs show, in the current folder.
mkdir -p src "docs/日本語" empty
i=1; while [ $i -le 60 ]; do echo "line $i: the quick brown fox jumps over the lazy dog, 日本語テキスト and émoji 🦀🎉"; i=$((i+1)); done > text.txt
sed 's/line 7/line seven/; 12d; 30s/fox/cat/' text.txt > other.txt
{ echo '#include <stdio.h>'; echo '/* a comment: 日本語 */'; echo 'int main(void) {'; i=0; while [ $i -lt 40 ]; do printf '\tprintf("line %d %%d\\n", %d);\n' $i $i; i=$((i+1)); done; echo '	return 0;'; echo '}'; } > src/code.c
printf 'int main(void) {\n  int x = "text";\n  undeclared(y);\n  return 0\n}\n' > src/wrong.c
printf '#!/usr/bin/env python3\n"""A module."""\nimport sys\n\n\nclass Point:\n    def __init__(self, x: int, y: int = 0) -> None:\n        self.x = x  # the column\n        self.y = y\n\n    def __repr__(self) -> str:\n        return f"Point({self.x!r}, {self.y!r})"\n\n\nif __name__ == "__main__":\n    print(Point(1), file=sys.stderr)\n' > src/point.py
printf '{"name":"demo","list":[1,2.5,true,null,"日本語"],"nested":{"a":{"b":[{"c":"d"},{"e":[]}]}}}\n' > data.json
printf 'name,age,city\nAda,36,London\nGrace,85,"New York"\n太郎,20,東京\nÉmile,61,Paris\n' > data.csv
printf '<html><head><title>A page</title></head><body><h1>Heading</h1><p>Text with <b>bold</b>, <i>italic</i> and <a href="second.html">a link</a>.</p><table border=1><tr><th>A<th>B<tr><td>1<td>日本<tr><td>2<td>two</table><ul><li>one<li>two</ul><form><input name=q><input type=submit></form></body></html>\n' > page.html
printf '<html><body><h2>Second page</h2><pre>pre   formatted</pre><a href="page.html">back</a></body></html>\n' > second.html
printf '.TH DEMO 1 2026-01-01\n.SH NAME\ndemo \\- shows a page\n.SH SYNOPSIS\n.B demo\n[\\fIoptions\\fR] \\fIfile\\fR...\n.SH DESCRIPTION\n' > demo.1
i=0; while [ $i -lt 20 ]; do printf 'Paragraph %d describes \\fBbold\\fR and \\fIunderlined\\fR words that fill several lines of the page when it is formatted.\n.PP\n' $i; i=$((i+1)); done >> demo.1
printf 'From a@example.org Thu Jan  1 00:00:00 2026\nFrom: Ada <a@example.org>\nTo: b@example.org\nSubject: The first message\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n\nHello,\n> quoted\n>> twice\n-- \nAda\n\nFrom b@example.org Fri Jan  2 00:00:00 2026\nFrom: Bob <b@example.org>\nTo: a@example.org\nSubject: =?UTF-8?B?5pel5pys6Kqe?=\nDate: Fri, 2 Jan 2026 00:00:00 +0000\n\nA second message.\n' > mbox
printf 'PS1="\\[\\e[32m\\]\\u@\\h\\[\\e[m\\]:\\[\\e[34m\\]\\w\\[\\e[m\\]\\$ "\n' > .bashrc
printf 'PROMPT="%%F{green}%%n@%%m%%f:%%F{blue}%%~%%f%%# "\nRPROMPT="%%F{yellow}right%%f"\nautoload -Uz compinit; compinit -u\nzstyle ":completion:*" menu select\nzstyle ":completion:*" list-colors ""\n' > .zshrc
printf 'syntax on\nset nocompatible laststatus=2 ruler showcmd hlsearch\n' > .vimrc
printf 'all: one two\none:\n\t@echo building one\n\t@sleep 0.1\ntwo:\n\t@echo building two\n\t@false\n' > Makefile
mkdir -p crate/src; printf '[package]\nname = "crate"\nversion = "0.1.0"\nedition = "2021"\n' > crate/Cargo.toml
printf 'fn main() {\n    let x: u32 = "text";\n    let unused = 1;\n    println!("{}", x + y);\n}\n' > crate/src/main.rs
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=a@example.org
mkdir repo; cd repo; git init -q -b main; cp ../text.txt ../src/code.c .
git config user.name Ada; git config user.email a@example.org
n=1; while [ $n -le 12 ]; do export GIT_AUTHOR_DATE="2026-01-01T00:$n:00Z" GIT_COMMITTER_DATE="2026-01-01T00:$n:00Z"; sed -i "${n}s/fox/fox $n/" text.txt; git add .; git commit -qm "Change number $n: 説明 of the change"; [ $n -eq 5 ] && git branch topic; n=$((n+1)); done
git checkout -q topic; echo topic > topic.txt; git add .; git commit -qm 'A topic'; git checkout -q main; git merge -q -m 'Merge the topic' topic
sed -i '3s/lazy/busy/; 40d' text.txt; echo new > untracked.txt
cd ..
mkdir -p deb/DEBIAN deb/usr/share/doc/demo-package; printf 'Package: demo-package\nVersion: 1.0\nArchitecture: all\nMaintainer: Ada <a@example.org>\nDescription: a demo\n' > deb/DEBIAN/control; echo text > deb/usr/share/doc/demo-package/text; dpkg-deb -b deb demo.deb > /dev/null
