package main

import (
	"image"
	"image/color"
	"image/draw"
	"slices"
)

// flat returns a picture with its 256 most frequent colours, which is all that a
// page of text needs, at a third of the size.
func flat(picture image.Image) image.Image {
	b := picture.Bounds()
	count := map[color.NRGBA]int{}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			count[color.NRGBAModel.Convert(picture.At(x, y)).(color.NRGBA)]++
		}
	}
	colours := make([]color.NRGBA, 0, len(count))
	for c := range count {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(p, q color.NRGBA) int {
		if count[p] != count[q] {
			return count[q] - count[p]
		}
		return int(p.R)<<16 + int(p.G)<<8 + int(p.B) - (int(q.R)<<16 + int(q.G)<<8 + int(q.B)) // so that the same page gives the same file
	})
	var palette color.Palette
	for _, c := range colours[:min(256, len(colours))] {
		palette = append(palette, c)
	}
	out := image.NewPaletted(b, palette)
	draw.Draw(out, b, picture, b.Min, draw.Src)
	return out
}
