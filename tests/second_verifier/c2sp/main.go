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

// Whether the tree of a case is whole. What is not listed differs by things that are not of the tree: write-ahead files, checkpoints kept
// elsewhere, statements, compressed files.
var trees = map[string]bool{
	"untouched": true, "known": true, "tail": true, "tail-torn": true, "witnessed": true,
	"changed": false, "emptied": false, "removed": false, "inserted": false, "moved": false, "cut": false, "torn": false,
	"bundle-gone": false, "tile-gone": false, "tile-above-gone": false, "made-to-fit": false, "last-made-to-fit": false,
	"checkpoint-gone": false, "checkpoint-edited": false,
}

type verdict struct {
	Key       string   `json:"key"`
	Witnesses []string `json:"witnesses"`
}

func main() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	failed := false
	for _, name := range slices.Sorted(maps.Keys(trees)) {
		folder, whole := filepath.Join(os.Args[1], name), trees[name]
		err := check(folder)
		if (err == nil) != whole {
			failed = true
			fmt.Printf("DIFFERS  %s: whole %v, found %.200s\n", name, whole, fmt.Sprint(err))
		} else {
			// Some messages hold whole tiles.
			fmt.Printf("agrees   %s: %.200s\n", name, fmt.Sprint(err))
		}
	}
	if err := checkProof(filepath.Join(os.Args[1], "untouched")); err != nil {
		failed = true
		fmt.Printf("DIFFERS  the proof of an entry: %v\n", err)
	} else {
		fmt.Println("agrees   the proof of an entry")
	}
	if failed {
		os.Exit(1)
	}
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

func checkProof(folder string) error {
	_, key, err := read(folder)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(folder, "261.tlog-proof"))
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
	if string(parsed.ExtraData) != "entry 261" {
		return fmt.Errorf("the entry is %q", parsed.ExtraData)
	}
	var path [][]byte
	for _, hash := range parsed.Hashes {
		path = append(path, hash[:])
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(parsed.ExtraData)
	return proof.VerifyInclusion(rfc6962.DefaultHasher, parsed.Index, checkpoint.Size, leaf, path, checkpoint.Hash)
}
