import Foundation

/// How well each patch of an image fits a label: logits, side x side, in the model's frame.
package struct ScoreMap: Sendable {
    let scores: [Float]
    let side: Int
    let frame: Frame

    static let limit: Float = 10

    package init(scores: [Float], side: Int, frame: Frame) {
        self.scores = scores
        self.side = side
        self.frame = frame
    }

    /// The cosines of patches [1,h*h,E] and a label's texts, the highest of each patch, brought to
    /// scores.
    init(patches: Tensor, texts: [[Float]], frame: Frame, calibration: Manifest.Calibration) {
        let (count, width) = (patches.shape[1], patches.shape[2])
        let values = patches.floats
        scores = (0..<count).map { patch in
            let seen = values[(patch * width)..<((patch + 1) * width)]
            let cosine = texts.map { dot(seen, $0[...]) }.max() ?? -1
            return calibration.scale * (cosine - calibration.bias)
        }
        side = Int(Double(count).squareRoot())
        self.frame = frame
    }

    /// The probability that the label is in the image: the highest score outside the padding.
    package var presence: Float {
        cells.map { sigmoid(scores[$0]) }.max() ?? 0
    }

    /// The cells whose probability is above a threshold, with the best cell in any case.
    package func cells(above threshold: Float) -> [Int] {
        let best = highest(1, of: cells)
        return cells.filter { sigmoid(scores[$0]) > threshold || best.contains($0) }
    }

    /// The cells of the label's parts: those above a threshold that neighbours connect, by a corner
    /// too, to one that says that the label is there, or to the best one.
    func parts(_ calibration: Manifest.Calibration) -> [Int] {
        var open = cells(above: calibration.maskThresholdScore)
        var reached = highest(1, of: cells)
        reached += open.filter { sigmoid(scores[$0]) >= calibration.presenceThreshold }
        var next = 0
        open.removeAll { reached.contains($0) }
        while next < reached.count {
            let (row, column) = (reached[next] / side, reached[next] % side)
            let near = open.filter { abs($0 / side - row) <= 1 && abs($0 % side - column) <= 1 }
            open.removeAll { near.contains($0) }
            reached += near
            next += 1
        }
        return Set(reached).sorted()
    }

    /// The best three of some cells, of equal ones the first from the top left.
    ///
    /// Their centres (x, y) in pixels of the model's input, no further than the image's last one.
    /// The rule is `points_and_box` of `samclip_sdk/engine/label_points.py`.
    package func points(of cells: [Int]) -> [[Float]] {
        highest(3, of: cells).map(centre)
    }

    /// The centre (x, y) of a cell, inside the image.
    func centre(of cell: Int) -> [Float] {
        let step = Float(frame.resolution) / Float(side)
        let x = (Float(cell % side) + 0.5) * step - 0.5
        let y = (Float(cell / side) + 0.5) * step - 0.5
        return [min(x, Float(frame.columns - 1)), min(y, Float(frame.rows - 1))]
    }

    /// The corners (x, y) of the box around some cells, inside the image.
    func corners(of cells: [Int]) -> [[Float]] {
        let step = Float(frame.resolution) / Float(side)
        let rows = cells.map { $0 / side }
        let columns = cells.map { $0 % side }
        let right = Float((columns.max() ?? 0) + 1) * step
        let bottom = Float((rows.max() ?? 0) + 1) * step
        return [
            [Float(columns.min() ?? 0) * step, Float(rows.min() ?? 0) * step],
            [min(right, Float(frame.columns)), min(bottom, Float(frame.rows))],
        ]
    }

    /// SAM's mask prompt: scores clipped to +-10, scaled bilinearly, -10 in the padding.
    package func maskPrompt(side target: Int, scale: Float = 1) -> [Float] {
        let inside = frame.covered(side: side)
        // The image's last row and column are repeated, so that no padding is blended in.
        let extended = (0..<(side * side)).map { cell -> Float in
            let row = min(cell / side, inside.rows - 1)
            let column = min(cell % side, inside.columns - 1)
            return min(max(scale * scores[row * side + column], -Self.limit), Self.limit)
        }
        var prompt = scaled(extended, side: side, to: target)
        let covered = frame.covered(side: target)
        for row in 0..<target {
            let first = row < covered.rows ? covered.columns : 0
            for column in first..<target { prompt[row * target + column] = -Self.limit }
        }
        return prompt
    }

    private func highest(_ count: Int, of cells: [Int]) -> [Int] {
        let sorted = cells.sorted { left, right in
            scores[left] == scores[right] ? left < right : scores[left] > scores[right]
        }
        return Array(sorted.prefix(count))
    }

    /// The cells that hold any pixel of the image, row by row.
    private var cells: [Int] {
        let inside = frame.covered(side: side)
        return (0..<inside.rows).flatMap { row in
            (0..<inside.columns).map { row * side + $0 }
        }
    }
}

package func sigmoid(_ logit: Float) -> Float { 1 / (1 + exp(-logit)) }
