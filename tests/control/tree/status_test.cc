// Goal: status, status.json, types, info.json and the files of one value agree with their columns'
// descriptions, and the percentage never overstates (trap T34).
// Method: made-up VolumeInfos and NodeInfos, without a store.
#include "control/tree/status.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

#include "control/text/time_text.h"
#include "control/tree/control_tree.h"
#include "control/tree/fields.h"

namespace volfs {
namespace {

VolumeInfo Clone(uint64_t copied, uint64_t total) {
  VolumeInfo info;
  info.id = 0x1234567890abcd00;
  info.name = "db-clone";
  info.status = "creating";
  info.size_bytes = 10737418240;
  info.node = "b";
  info.type = "ssd";
  info.region = "default";
  info.source = "db";
  info.created_ns = 1738324800LL * 1'000'000'000;
  info.progress.creating = true;
  info.progress.total_known = true;
  info.progress.copied_bytes = copied;
  info.progress.total_bytes = total;
  return info;
}

VolumeInfo Whole() {
  VolumeInfo info = Clone(0, 0);
  info.name = "db";
  info.status = "in-use";
  info.node = "a";
  info.source = "";
  info.progress = {};
  return info;
}

SnapshotInfo SnapshotOfWhole() {
  SnapshotInfo info;
  info.id = 0x300;
  info.volume = "db";
  info.name = "s";
  info.size_bytes = 100;
  info.created_ns = 7'000'000'000;
  info.allocated_bytes = 80;
  info.exclusive_bytes = 30;
  return info;
}

std::string FieldOf(const VolumeInfo& info, std::string_view name) {
  const VolumeField* field = FindField(VolumeFields(), name);
  return field == nullptr ? "no such field" : FieldText(*field, info);
}

TEST(StatusTest, HasALineAVolume) {
  EXPECT_EQ(StatusText({Whole(), Clone(3750, 10000)}),
            "db in-use 10737418240 a ssd 100.00 -\n"
            "db-clone creating 10737418240 b ssd 37.50 db\n");
}

TEST(StatusTest, IsEmptyWithoutVolumes) {
  EXPECT_EQ(StatusText({}), "");
  EXPECT_EQ(StatusJson({}, {}), "[]\n");
}

TEST(StatusTest, JsonHasTheSameColumns) {
  EXPECT_EQ(StatusJson({Whole(), Clone(3750, 10000)}, {SnapshotOfWhole()}),
            "[\n"
            R"({"name":"db","status":"in-use","size":10737418240,"node":"a","type":"ssd",)"
            R"("hydrated":100.0,"source":null,"snapshots":[{"name":"s","id":"0000000000000300",)"
            R"("created":"1970-01-01T00:00:07Z","size_bytes":100,"exclusive_bytes":30,)"
            R"("shared_bytes":50}]},)"
            "\n"
            R"({"name":"db-clone","status":"creating","size":10737418240,"node":"b","type":"ssd",)"
            R"("hydrated":37.5,"source":"db","snapshots":[]})"
            "\n]\n");
}

TEST(StatusTest, PercentIsRoundedDownAndNeverWholeTooEarly) {
  EXPECT_EQ(FieldOf(Clone(0, 0), "hydrated"), "0.00\n");
  EXPECT_EQ(FieldOf(Clone(1, 3), "hydrated"), "33.33\n");
  EXPECT_EQ(FieldOf(Clone(5, 8), "hydrated"), "62.50\n");
  EXPECT_EQ(FieldOf(Clone(1, 2000), "hydrated"), "0.05\n");
  EXPECT_EQ(FieldOf(Clone(999'999'999, 1'000'000'000), "hydrated"), "99.99\n");
  EXPECT_EQ(FieldOf(Clone(10, 10), "hydrated"), "99.99\n") << "copied, and not committed as whole";
  EXPECT_EQ(FieldOf(Whole(), "hydrated"), "100.00\n");
}

TEST(StatusTest, EtaIsUnknownASecondCountOrZero) {
  VolumeInfo info = Clone(1, 10);
  EXPECT_EQ(FieldOf(info, "eta_seconds"), "unknown\n");
  info.progress.eta_seconds = 90;
  EXPECT_EQ(FieldOf(info, "eta_seconds"), "90\n");
  EXPECT_EQ(FieldOf(Whole(), "eta_seconds"), "0\n");
}

TEST(StatusTest, FieldsHoldOneValueAndALineFeed) {
  VolumeInfo info = Clone(1, 10);
  info.error = "no space\non b";
  EXPECT_EQ(FieldOf(info, "id"), "1234567890abcd00\n");
  EXPECT_EQ(FieldOf(info, "created"), "2025-01-31T12:00:00Z\n");
  EXPECT_EQ(FieldOf(info, "error"), "no space\\x0aon b\n");
  EXPECT_EQ(FieldOf(Whole(), "error"), "\n");
  for (const VolumeField& field : VolumeFields()) {
    const std::string text = FieldText(field, info);
    EXPECT_EQ(text.find('\n'), text.size() - 1) << field.name;
  }
}

TEST(StatusTest, FacetsAndNamesAreEachUsedOnce) {
  std::set<uint64_t> facets;
  std::set<std::string_view> names;
  for (const VolumeField& field : VolumeFields()) {
    EXPECT_TRUE(facets.insert(field.facet).second) << field.name;
    EXPECT_TRUE(names.insert(field.name).second) << field.name;
    EXPECT_GE(field.facet, inode::kControlFile);
    EXPECT_LT(field.facet, 0x80U) << "from there on are those of control_tree.cc";
  }
  facets.clear();
  for (const NodeField& field : NodeFields()) {
    EXPECT_TRUE(facets.insert(field.facet).second) << field.name;
    EXPECT_GE(field.facet, inode::kControlFile);
  }
}

TEST(StatusTest, InfoJsonHasTheNameAndAllFields) {
  const std::string json = InfoJson(Clone(3750, 10000));
  EXPECT_EQ(json.substr(0, 20), R"({"name":"db-clone",")");
  EXPECT_EQ(json.back(), '\n');
  for (const VolumeField& field : VolumeFields()) {
    EXPECT_NE(json.find('"' + std::string(field.name) + "\":"), std::string::npos) << field.name;
  }
  EXPECT_NE(json.find(R"("eta_seconds":null)"), std::string::npos);
}

NodeInfo NodeWith(std::string name, std::vector<VolumeType> types) {
  NodeInfo info;
  info.name = std::move(name);
  info.types = std::move(types);
  return info;
}

TEST(StatusTest, TypesNameTheirNodesAndSizes) {
  const NodeInfo a = NodeWith("a", {{"ssd", 0, 100}, {"sata", 5, 10}});
  const NodeInfo b = NodeWith("b", {{"ssd", 0, 100}, {"sata", 5, 20}});
  EXPECT_EQ(TypesText({a, b}), "sata a 5 10\nsata b 5 20\nssd a,b 0 100\n");
  const NodeField* types = FindField(NodeFields(), "types");
  ASSERT_NE(types, nullptr);
  EXPECT_EQ(FieldText(*types, a), "ssd sata\n");
}

TEST(TimeTextTest, IsRfc3339) {
  EXPECT_EQ(UtcSeconds(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(UtcMilliseconds(1738324800'123'456'789), "2025-01-31T12:00:00.123Z");
  EXPECT_EQ(UtcMilliseconds(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(UtcSeconds(INT64_MAX), "2262-04-11T23:47:16Z");
}

TEST(JsonTest, EscapesWhatItMust) {
  EXPECT_EQ(JsonLine({{"a", std::string("q\"\\\n\xff")}, {"b", nullptr}, {"c", Hundredths{5}}}),
            "{\"a\":\"q\\\"\\\\\\n\xef\xbf\xbd\",\"b\":null,\"c\":0.05}\n");
  EXPECT_EQ(JsonLine({{"a", UINT64_MAX}}), "{\"a\":18446744073709551615}\n");
}

}  // namespace
}  // namespace volfs
