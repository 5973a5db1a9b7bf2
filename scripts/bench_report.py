"""The measurements of scripts/bench, as Markdown, JSON and a picture."""

import html
import math
import re
import statistics

from bench_lib import verdict


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


class Report:
    """`jobs`: title and unit by name; a job's first pass on a fresh image is NAME-fresh."""

    def __init__(self, facts, options, jobs, runs, limits, calls, skipped):
        self.facts, self.options, self.runs = facts, options, runs
        self.calls, self.skipped = calls, skipped
        self.jobs = {}
        for name, (title, unit) in jobs.items():
            self.jobs[name] = (title, unit)
            self.jobs[f"{name}-fresh"] = (f"{title}, first pass on a fresh image", unit)
        self.values: dict[tuple, list] = {}  # by place, job and target, in the order of the rounds
        for run in runs:
            key = (run["place"], run["job"], run["target"])
            self.values.setdefault(key, []).append(run["value"])
        self.verdicts = list(self._verdicts(limits))

    def _ratio(self, ours, theirs):
        """Of the medians, and the least and greatest of one round."""
        rounds = [o / t for o, t in zip(ours, theirs)]
        return statistics.median(ours) / statistics.median(theirs), min(rounds), max(rounds)

    def _verdicts(self, limits):
        for limit in limits:
            for (place, job, target), ours in self.values.items():
                if place != limit.place or target != limit.target or \
                        not re.fullmatch(limit.jobs, job):
                    continue
                peers = {peer: self.values[place, job, peer] for peer in limit.peers
                         if (place, job, peer) in self.values}
                if peers:
                    peer = max(peers, key=lambda name: statistics.median(peers[name]))
                    ratio, least, most = self._ratio(ours, peers[peer])
                    yield {"place": place, "job": job, "target": target, "peer": peer,
                           "ratio": ratio, "ratio_min": least, "ratio_max": most,
                           "limit": limit.least, "verdict": verdict(ratio >= limit.least)}

    def json(self):
        return {"machine": self.facts, "options": self.options, "skipped": self.skipped,
                "limits": self.verdicts, "syscalls": self.calls, "runs": self.runs}

    def markdown(self):
        return "\n".join([*self._facts(), *self._limits(), *self._figures(), *self._calls()])

    def _facts(self):
        facts = self.facts
        yield (f"Linux {facts['kernel']}, {facts['cores']} cores ({facts['cpu']}), "
               f"{facts['memory_mib'] / 1024:.0f} GiB; {facts['volfs']} ({facts['commit']}); "
               + ", ".join(f"{name} {text}" for name, text in facts["packages"].items()) + ". "
               f"{self.options['rounds']} rounds, {self.options['seconds']:g} s a run, images of "
               f"{self.options['size_mib']} MiB; {facts['minutes']} minutes.")
        for text in self.skipped:
            yield f"\n**Skipped:** {text}"

    def _limits(self):
        if not self.verdicts:
            return
        yield "\n| place | job | target | of peer | ratio of medians | rounds | at least | |"
        yield "|---|---|---|---|---|---|---|---|"
        for v in self.verdicts:
            yield (f"| {v['place']} | {self.jobs[v['job']][0]} | {v['target']} | {v['peer']} | "
                   f"{v['ratio']:.2f} | {v['ratio_min']:.2f} .. {v['ratio_max']:.2f} | "
                   f"{v['limit']:g} | {v['verdict']} |")

    def _figures(self):
        if not self.values:
            return
        yield "\n| place | job | target | median | rounds | of raw |"
        yield "|---|---|---|---|---|---|"
        for (place, job, target), values in self.values.items():
            title, unit = self.jobs[job]
            raw = self.values.get((place, job, "raw"))
            of_raw = f"{self._ratio(values, raw)[0]:.2f}" if raw and target != "raw" else ""
            yield (f"| {place} | {title} | {target} | {number(statistics.median(values))} {unit} | "
                   f"{number(min(values))} .. {number(max(values))} | {of_raw} |")

    def _calls(self):
        if not self.calls:
            return
        yield "\n| place | requests | context switches | system calls a request |"
        yield "|---|---|---|---|"
        for entry in self.calls:
            calls = sorted(entry["calls"].items(), key=lambda call: -call[1])
            yield (f"| {entry['place']} | {entry['what']} | {entry['switches']:.2f} | "
                   + ", ".join(f"{call} {count:.2f}" for call, count in calls) + " |")

    def svg(self):
        """A bar for each limit, on a logarithmic scale; a line over it from the least to the
        greatest ratio of a round; a mark where the limit is."""
        row, left, width, top = 22, 470, 380, 46
        height = top + row * len(self.verdicts) + 34
        least = min([0.25, *(v["ratio_min"] for v in self.verdicts)])
        most = max([4, *(v["ratio_max"] for v in self.verdicts)])
        low, high = math.floor(math.log2(least)), math.ceil(math.log2(most))

        def x(ratio):
            return left + width * (math.log2(ratio) - low) / (high - low)

        def text(at_x, at_y, words, anchor="start", more=""):
            return (f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}"{more}>'
                    f"{html.escape(words)}</text>")

        box = left + width + 70
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {box} {height}" '
               'font-family="sans-serif" font-size="12">',
               f'<rect width="{box}" height="{height}" fill="#fff"/>',
               text(10, 20, "volfs and its peers: ratio of medians (bar), of single rounds (line), "
                    "and what it must be at least (mark)", more=' font-weight="bold"')]
        bottom = height - 30
        for power in range(low, high + 1):
            at = x(2.0 ** power)
            out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top - 8}" y2="{bottom}" '
                       f'stroke="{"#888" if power == 0 else "#ddd"}"/>')
            out.append(text(at, bottom + 16, f"{2.0 ** power:g}", "middle"))
        for n, v in enumerate(self.verdicts):
            y = top + n * row
            colour = "#2f7d4f" if v["verdict"] == "ok" else "#c0392b"
            start, end = sorted((x(1), x(v["ratio"])))
            title = re.sub(r" \(raw:.*?\)", "", self.jobs[v["job"]][0])
            out += [
                text(left - 10, y + 9, f"{title}: {v['target']} / {v['peer']}", "end",
                     ' font-size="11"'),
                f'<rect x="{start:.1f}" y="{y - 2}" width="{max(1, end - start):.1f}" height="14" '
                f'fill="{colour}" fill-opacity="0.75"/>',
                f'<line x1="{x(v["ratio_min"]):.1f}" x2="{x(v["ratio_max"]):.1f}" y1="{y + 5}" '
                f'y2="{y + 5}" stroke="#222"/>',
                f'<line x1="{x(v["limit"]):.1f}" x2="{x(v["limit"]):.1f}" y1="{y - 5}" '
                f'y2="{y + 15}" stroke="#000" stroke-width="2"/>',
                text(left + width + 12, y + 9, f"{v['ratio']:.2f}")]
        return "\n".join([*out, "</svg>"]) + "\n"
