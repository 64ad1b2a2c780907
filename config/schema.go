package config

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
)

// object is a JSON object; encoding/json writes its keys sorted, so the schema is the same from run to run.
type object = map[string]any

const (
	variablePattern = `\$\{`
	sizePattern     = `^\s*[0-9][0-9_]*(\.[0-9]+)?\s*([kKmMgGtT]?[iI]?[bB]?)\s*$`
	countPattern    = `^\s*[0-9][0-9_]*(\.[0-9]+)?\s*([kKmMgGtT][iI]?)?\s*$`
)

// Schema writes a JSON Schema (2020-12) of the whole pipeline file, for editors: every stage and option with its
// description, default, bounds and words. It is a little wider than Load, which also checks ids, from, bounds written
// with units and rules across options. The error names the stage whose options are declared wrongly.
func Schema(stages []StageDoc) ([]byte, error) {
	model, err := optionsSchema(ModelOptions{}, "Which model runs.", false)
	if err != nil {
		return nil, fmt.Errorf("schema of model: %w", err)
	}
	device, err := optionsSchema(DeviceOptions{}, "What the model runs on.", false)
	if err != nil {
		return nil, fmt.Errorf("schema of device: %w", err)
	}
	properties := object{keyModel: model, keyDevice: device}
	definitions := object{}
	for _, part := range levelIntros {
		level, err := levelSchema(part.level, part.intro, stages, definitions)
		if err != nil {
			return nil, err
		}
		properties[string(part.level)] = level
	}
	text, err := json.MarshalIndent(object{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"title":                "headinfer pipeline",
		"type":                 "object",
		"properties":           properties,
		"additionalProperties": false,
		"$defs":                definitions,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return append(text, '\n'), nil
}

// levelSchema describes a level's list and adds its stages to the definitions.
func levelSchema(level Level, intro string, stages []StageDoc, definitions object) (object, error) {
	var names []any
	byName := object{}
	for _, s := range stages {
		if s.Level != level {
			continue
		}
		description := s.Doc + " (" + s.arrow() + ")"
		if s.Lossy != "" {
			description += " Lossy: " + s.Lossy
		}
		options, err := optionsSchema(s.Options, description, true)
		if err != nil {
			return nil, fmt.Errorf("schema of stage %q: %w", s.Name, err)
		}
		key := string(level) + "." + s.Name
		definitions[key] = options
		names = append(names, s.Name)
		byName[s.Name] = object{"$ref": "#/$defs/" + key}
	}
	items := object{"type": "object", "properties": byName, "additionalProperties": false, "minProperties": 1, "maxProperties": 1}
	item := object{"anyOf": []any{object{"enum": names}, items}}
	if names == nil {
		item = object{"not": object{}}
	}
	return object{"description": intro, "type": []string{"array", "null"}, "items": item}, nil
}

// optionsSchema describes a mapping of options; a stage's also has id and from.
func optionsSchema(options any, description string, stage bool) (object, error) {
	specs, err := specsOf(options)
	if err != nil {
		return nil, err
	}
	properties := object{}
	if stage {
		properties[keyID] = object{"type": "string", "pattern": `^[A-Za-z0-9_-]+$|` + variablePattern, "description": "Another name for this entry; by default the stage's name."}
		properties[keyFrom] = object{"type": "string", "description": "The id of the entry above that this one reads from; by default the one just above."}
	}
	for i := range specs {
		s := &specs[i]
		value, err := s.schema()
		if err != nil {
			return nil, fmt.Errorf("option %q: %w", s.name, err)
		}
		outer, inner, nested := strings.Cut(s.name, ".")
		if !nested {
			properties[s.name] = value
			continue
		}
		group, ok := properties[outer].(object)
		if !ok {
			group = object{"type": "object", "properties": object{}, "additionalProperties": false}
			properties[outer] = group
		}
		group["properties"].(object)[inner] = value
	}
	return object{
		"description": description, "type": []string{"object", "null"}, "properties": properties, "additionalProperties": false,
	}, nil
}

// schema describes one option. A text with ${ in it is right everywhere: what it will hold is not known yet.
func (s *spec) schema() (object, error) {
	plain := object{}
	variable := object{"type": "string", "pattern": variablePattern}
	forms := []any{plain, variable}
	switch s.kind {
	case kindText:
		// YAML's numbers and booleans are read as the text they are written with.
		plain["type"] = []string{"string", "number", "boolean"}
		forms = forms[:1]
		if s.words != nil {
			forms = []any{object{"enum": s.words}, variable}
		}
	case kindTexts:
		text := []string{"string", "number", "boolean"}
		plain["type"], plain["items"] = "array", object{"type": text}
		forms = []any{plain, object{"type": text}}
	case kindBool:
		plain["type"] = "boolean"
	case kindFloat:
		plain["type"], plain["minimum"] = "number", s.lowFloat
		if s.highFloat < math.MaxFloat64 {
			plain["maximum"] = s.highFloat
		}
	default:
		plain["type"], plain["minimum"] = "integer", s.low
		if s.bounded {
			plain["maximum"] = s.high
		}
		switch s.kind {
		case kindBytes:
			forms = append(forms, object{"type": "string", "pattern": sizePattern})
		case kindCount, kindChoice:
			forms = append(forms, object{"type": "string", "pattern": countPattern})
		}
		if s.kind == kindChoice {
			forms = append(forms, object{"enum": s.words})
		}
	}
	result := object{"anyOf": forms}
	if len(forms) == 1 {
		result = plain
	}
	result["description"] = s.doc
	if s.unit != "" {
		result["description"] = s.doc + " (" + s.unit + ")"
	}
	for name, text := range map[string]string{"default": s.defaultText, "example": s.example} {
		value, err := s.jsonValue(text)
		if err != nil {
			return nil, fmt.Errorf("the %s %q: %w", name, text, err)
		}
		if name == "default" {
			result["default"] = value
		} else {
			result["examples"] = []any{value}
		}
	}
	return result, nil
}

// jsonValue turns a tag's text into what an editor would insert: sizes, counts and choices as they are written.
func (s *spec) jsonValue(text string) (any, error) {
	n, err := s.literal(text)
	if err != nil {
		return nil, err
	}
	var target reflect.Value
	switch s.kind {
	case kindText:
		return text, nil
	case kindTexts:
		target = reflect.New(typeTexts).Elem()
	case kindBool:
		target = reflect.New(reflect.TypeFor[bool]()).Elem()
	case kindFloat:
		target = reflect.New(reflect.TypeFor[float64]()).Elem()
	case kindWhole:
		target = reflect.New(reflect.TypeFor[int64]()).Elem()
	case kindBytes:
		target = reflect.New(typeBytes).Elem()
	case kindCount:
		target = reflect.New(typeCount).Elem()
	case kindChoice:
		target = reflect.New(typeChoice).Elem()
	}
	if bad := s.assign(target, n); bad != nil {
		return nil, fmt.Errorf("it %s; expected %s", bad.what, bad.want)
	}
	switch s.kind {
	case kindBytes, kindCount, kindChoice:
		if plain, err := s.parseWhole(text); err == nil && fmt.Sprint(plain) == text {
			return plain, nil
		}
		return text, nil
	}
	return target.Interface(), nil
}
