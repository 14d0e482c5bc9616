/**
 * The page with what stands between the marks of a program replaced. @throws Error where the marks are not there, once and in order.
 */
export function replaceBetweenMarks(page: string, text: string, program: string): string {
  const [begin, end] = [`<!-- ${program} writes from here -->`, "<!-- to here -->"];
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from < 0 || to < from) throw new Error(`the page lacks its marks: ${begin} … ${end}`);
  return `${page.slice(0, from + begin.length)}\n\n${text}\n\n${page.slice(to)}`;
}
