package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"headinfer/config"
	"headinfer/eval"
)

// evalData is what the files of --data hold.
type evalData struct {
	tasks []string // that have a file, in the order of --data
	qa    *eval.QA // nil: no file
	given map[string][]eval.Sample
}

// read reads files, each named TASK=FILE.
func (d *evalData) read(files []string) error {
	d.given = map[string][]eval.Sample{}
	for _, named := range files {
		name, path, ok := strings.Cut(named, "=")
		if !ok || name == "" || path == "" {
			return fmt.Errorf("%q; expected TASK=FILE, such as qa=dev-v1.1.json", named)
		}
		task, err := eval.FindGiven(name, path)
		if err != nil {
			return fmt.Errorf("%w%s", err, didYouMean(name))
		}
		if slices.Contains(d.tasks, task.Name) {
			return fmt.Errorf("%s is a second file for %s; name one", path, task.Name)
		}
		d.tasks = append(d.tasks, task.Name)
		if task.Given() {
			d.given[task.Name], err = eval.Read(task, path)
		} else {
			d.qa, err = eval.ReadQA(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// didYouMean ends a message about a task of a name that there is not.
func didYouMean(name string) string {
	if near := config.Nearest(name, append(eval.Names(), eval.SCBench)); near != "" && near != name {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// findTasks reads --task, and holds it to the files of --data.
func (o *evalOptions) findTasks() error {
	names := o.taskNames
	if !o.said("task") {
		names = o.data.tasks
		if len(names) == 0 {
			names = []string{"niah_single"}
		}
	}
	for _, name := range names {
		some, err := o.data.tasksOf(name)
		if err != nil {
			return fmt.Errorf("--task%w", err)
		}
		for _, t := range some {
			if !slices.ContainsFunc(o.tasks, func(before eval.Task) bool { return before.Name == t.Name }) {
				o.tasks = append(o.tasks, t)
			}
		}
	}
	if len(o.tasks) == 0 {
		return errors.New("--task names no task")
	}
	for _, name := range o.data.tasks {
		if !slices.ContainsFunc(o.tasks, func(t eval.Task) bool { return t.Name == name }) {
			return fmt.Errorf("--data has a file for %s, which is not asked; add it to --task, or leave --task out", name)
		}
	}
	return nil
}

// tasksOf returns the tasks that a name of --task stands for: of all and scbench,
// those for which there is what they need.
func (d *evalData) tasksOf(name string) ([]eval.Task, error) {
	ready := func(t eval.Task) bool { return t.Data == "" || slices.Contains(d.tasks, t.Name) }
	if name == "all" || name == eval.SCBench {
		some := slices.DeleteFunc(eval.Tasks(), func(t eval.Task) bool {
			return !ready(t) || name != "all" && !strings.HasPrefix(t.Name, name)
		})
		if len(some) == 0 {
			return nil, fmt.Errorf(" %s needs its files; name each with --data, such as --data scbench=scbench_kv.jsonl", name)
		}
		return some, nil
	}
	t, ok := eval.Find(name)
	if !ok {
		return nil, fmt.Errorf(": no task %q; there are %s, %s, perplexity and all%s", name, strings.Join(eval.Names(), ", "), eval.SCBench, didYouMean(name))
	}
	if !ready(t) {
		return nil, fmt.Errorf(" %s needs %s; name it with --data %s=FILE", name, t.Data, name)
	}
	return []eval.Task{t}, nil
}

// givenCase takes the questions of a file whose prompts are not too long, and
// drops the others' texts. most is the model's context.
func (o *evalOptions) givenCase(g *eval.Generator, t eval.Task, most int) (evalCase, error) {
	c := evalCase{task: t, tokens: max(most-t.AnswerTokens, 0)}
	if o.said("context") {
		c.tokens = min(c.tokens, o.contexts[len(o.contexts)-1])
	}
	for _, s := range o.data.given[t.Name] {
		if o.said("samples") && len(c.samples) == o.samples {
			break
		}
		n, err := g.Total(s.Text, s.Question)
		if err != nil {
			return c, fmt.Errorf("%s, %s: %w", t.Name, s.ID, err)
		}
		if n > c.tokens {
			c.skipped++
			continue
		}
		s.Real = n
		c.samples = append(c.samples, s)
	}
	delete(o.data.given, t.Name)
	if len(c.samples) == 0 {
		c.err = fmt.Errorf("each of its %d prompts takes more; ask for more with --context, or take a model with a longer one (this one's is %d)", c.skipped, most)
		return c, nil
	}
	slices.SortStableFunc(c.samples, func(a, b eval.Sample) int { return cmp.Compare(a.Real, b.Real) })
	if !o.said("context") && c.skipped == 0 {
		c.tokens = c.samples[len(c.samples)-1].Real // says more than the model's context
	}
	for i := range c.samples {
		c.samples[i].Tokens = c.tokens
	}
	return c, nil
}
