// Reads the cases of the second verifier with tools that others have written for C2SP logs: the check of a whole tlog-tiles
// log of transparency-dev/tessera, their parser of tlog-proof and their verifiers of notes and cosignatures. Nothing in here knows Barnabas.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	fnote "github.com/transparency-dev/formats/note"
	fproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	flog "github.com/transparency-dev/formats/log"
)

// Whether the tree of a case is whole, where its verdict does not say so. What is not listed differs by things that are not of the tree:
// write-ahead files, checkpoints kept elsewhere, statements, compressed files.
var trees = map[string]bool{
	"untouched": true, "known": true, "tail": true, "tail-torn": true, "witnessed": true,
	"changed": false, "emptied": false, "removed": false, "inserted": false, "moved": false, "cut": false, "torn": false,
	"bundle-gone": false, "tile-gone": false, "tile-above-gone": false, "made-to-fit": false, "last-made-to-fit": false,
	"checkpoint-gone": false, "checkpoint-edited": false,
}

type verdict struct {
	Key       string   `json:"key"`
	Witnesses []string `json:"witnesses"`
	Tree      *bool    `json:"tree"`
}

func main() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	failed, good, bad := false, 0, 0
	for _, name := range slices.Sorted(maps.Keys(expected(os.Args[1]))) {
		folder, whole := filepath.Join(os.Args[1], name), expected(os.Args[1])[name]
		if whole {
			good++
		} else {
			bad++
		}
		err := check(folder)
		if (err == nil) != whole {
			failed = true
			fmt.Printf("DIFFERS  %s: whole %v, found %.200s\n", name, whole, fmt.Sprint(err))
		} else {
			// Some messages hold whole tiles.
			fmt.Printf("agrees   %s: %.200s\n", name, fmt.Sprint(err))
		}
	}
	proofs, err := filepath.Glob(filepath.Join(os.Args[1], "*", "*.tlog-proof"))
	for _, path := range proofs {
		if err = checkProof(path); err != nil {
			failed = true
			fmt.Printf("DIFFERS  %s: %v\n", path, err)
		} else {
			fmt.Printf("agrees   %s: the proof of an entry\n", path)
		}
	}
	if err != nil || len(proofs) == 0 || good == 0 || bad == 0 {
		failed = true
		fmt.Printf("%d proofs, %d good and %d bad logs: %v\n", len(proofs), good, bad, err)
	}
	if failed {
		os.Exit(1)
	}
}

// The cases below a folder, and whether the tree of each is whole.
func expected(folder string) map[string]bool {
	found := make(map[string]bool)
	cases, _ := filepath.Glob(filepath.Join(folder, "*", "verdict.json"))
	for _, path := range cases {
		name := filepath.Base(filepath.Dir(path))
		if asked, _, err := read(filepath.Dir(path)); err == nil && asked.Tree != nil {
			found[name] = *asked.Tree
		} else if whole, known := trees[name]; known {
			found[name] = whole
		}
	}
	return found
}

func read(folder string) (verdict, note.Verifier, error) {
	var asked verdict
	text, err := os.ReadFile(filepath.Join(folder, "verdict.json"))
	if err != nil {
		return asked, nil, err
	}
	if err := json.Unmarshal(text, &asked); err != nil {
		return asked, nil, err
	}
	key, err := note.NewVerifier(asked.Key)
	return asked, key, err
}

// A tool that falls over a log has not accepted it: the check of tessera v1.0.4 does so when a bundle has too few entries.
func check(folder string) (err error) {
	defer func() {
		if broke := recover(); broke != nil {
			err = fmt.Errorf("the tool broke: %v", broke)
		}
	}()
	asked, key, err := read(folder)
	if err != nil {
		return err
	}
	root := filepath.Join(folder, "log")
	if err := fsck.New(key.Name(), key, client.FileFetcher{Root: root}, hashes, fsck.Opts{N: 2}).Check(context.Background()); err != nil {
		return err
	}
	for _, vkey := range asked.Witnesses {
		witness, err := fnote.NewVerifierForCosignatureV1(vkey)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(root, "witnessed"))
		if err != nil {
			return err
		}
		opened, err := note.Open(text, note.VerifierList(key, witness))
		if err != nil {
			return err
		}
		if len(opened.Sigs) != 2 {
			return fmt.Errorf("%d signatures of a log and a witness", len(opened.Sigs))
		}
	}
	return nil
}

func hashes(bundle []byte) ([][]byte, error) {
	var parsed api.EntryBundle
	if err := parsed.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var found [][]byte
	for _, entry := range parsed.Entries {
		found = append(found, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return found, nil
}

// The proof of an entry: a file INDEX.tlog-proof beside the log, and the entry as INDEX.entry.
func checkProof(path string) error {
	_, key, err := read(filepath.Dir(path))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	entry, err := os.ReadFile(strings.TrimSuffix(path, ".tlog-proof") + ".entry")
	if err != nil {
		return err
	}
	var parsed fproof.TLogProof
	if err := parsed.Unmarshal(text); err != nil {
		return err
	}
	checkpoint, _, _, err := flog.ParseCheckpoint(parsed.Checkpoint, key.Name(), key)
	if err != nil {
		return err
	}
	if string(parsed.ExtraData) != string(entry) {
		return fmt.Errorf("the entry is %q", parsed.ExtraData)
	}
	var hashes [][]byte
	for _, hash := range parsed.Hashes {
		hashes = append(hashes, hash[:])
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(parsed.ExtraData)
	return proof.VerifyInclusion(rfc6962.DefaultHasher, parsed.Index, checkpoint.Size, leaf, hashes, checkpoint.Hash)
}
